"""Images on the ESP: written beside the others, read back from the disk, and only then named.

    /orlop/images/ID.efi    the image; ID is the beginning of its SHA-256
    /orlop/images/ID.*      what the boot loader has to know of it: `lib.boot_files`

No file that is there is ever written to; a damaged one goes before it is brought anew. The image
comes last: one that is there has the others.
All functions block for as long as the disk takes.
"""

from __future__ import annotations

import contextlib
import os
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.boot_files import names_of
from orlop.lib.errors import Internal, InvalidArgument, ResourceExhausted
from orlop.lib.unified_image import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from orlop.lib.unified_image import Description
    from orlop.system.updates.generations import Image
    from orlop.wire.release import Blob

    type File = Image | Blob

IMAGES = "orlop/images"
PART_BYTES = 1 << 20
MARGIN_BYTES = 1 << 20
"""What stays free: directories grow, and the boot loader's files are there before."""


def path_of(esp: Path, image: str) -> Path:
    """Where the image with the identity *image* is on the ESP, if it is there."""
    return esp / IMAGES / f"{image}.efi"


def check_space(directory: Path, needed_bytes: int, what: str) -> None:
    """Raises ResourceExhausted: *directory* has not that much, and some to spare."""
    status = os.statvfs(directory)
    free = status.f_bavail * status.f_frsize
    if free < needed_bytes + MARGIN_BYTES:
        needed = (needed_bytes + MARGIN_BYTES) >> 20
        raise ResourceExhausted(
            f"{what} has {free >> 20} MiB free, {needed} MiB are needed", hint="orlop os gc"
        )


def check_fits(esp: Path, image: Image, others: int = 0) -> None:
    """Raises ResourceExhausted: *image* is not there, and there is no room for it and *others*,
    a number of bytes."""
    there = 0
    with contextlib.suppress(OSError):
        there = path_of(esp, image.id).stat().st_size
    if (needed := others + image.size_bytes - there) > 0:
        check_space(esp, needed, "the EFI system partition")


def write_image(
    esp: Path,
    source: Path,
    image: Image,
    beside: Mapping[str, bytes],
    report: Callable[[int], None],
) -> None:
    """Copy *source* to the ESP and read it back; *beside* has its other files by name.

    *report* is told how many bytes are done, of twice the image's size. May run twice.

    Raises:
        InvalidArgument: *source* is not what it should be.
        Internal: what was read back is not what was written.
        OSError: the ESP is full or broken.
    """
    directory = esp / IMAGES
    directory.mkdir(parents=True, exist_ok=True)
    target = path_of(esp, image.id)
    if target.exists():
        if not problem_of(esp, image, report):
            return
        # Damaged, or what a power cut has left of its removal: nobody can start it.
        target.unlink()
        atomic_file.sync_directory(directory)
    write_beside(directory, beside)
    write_file(esp, source, target, image, report)


def write_file(
    esp: Path, source: Path, target: Path, file: File, report: Callable[[int], None]
) -> None:
    """Copy *source*, which is to be *file*, to *target*, which is not there; read it back.

    Raises:
        InvalidArgument, Internal, OSError: as `write_image`.
    """
    directory = esp / IMAGES  # what a crash leaves there is removed
    temporary = directory / f"{atomic_file.TEMPORARY_PREFIX}{target.stem}"
    temporary.unlink(missing_ok=True)
    try:
        _copy(source, temporary, file, report)
        verify(temporary, file, lambda done: report(file.size_bytes + done))
        os.rename(temporary, target)
    except (InvalidArgument, Internal, OSError):
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_entry(target)
    for folder in {directory, target.parent}:
        atomic_file.sync_directory(folder)


def _sync_entry(path: Path) -> None:
    """FAT: the new name of a file has neither size nor clusters on the disk until that is synced
    once more."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_beside(directory: Path, beside: Mapping[str, bytes]) -> None:
    """Write small files by their names, each for good."""
    for name, data in beside.items():
        atomic_file.write_bytes(directory / name, data)
        _sync_entry(directory / name)


def _copy(source: Path, target: Path, image: File, report: Callable[[int], None]) -> None:
    digest, done = sha256(), 0
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with source.open("rb") as stream:
        try:
            while data := stream.read(PART_BYTES):
                digest.update(data)
                done += len(data)
                if done > image.size_bytes:
                    break
                while data:
                    data = data[os.write(descriptor, data) :]
                report(done)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if (digest.hexdigest(), done) != (image.sha256, image.size_bytes):
        raise InvalidArgument("the image has changed since it was checked")


def verify(path: Path, image: File, report: Callable[[int], None] = lambda _: None) -> None:
    """Read *path* from the disk, not from memory, and compare it with *image*, or another file.

    Raises:
        Internal: it is not that. OSError: it cannot be read.
    """
    found = digest_of(path, report)
    if (found, path.stat().st_size) != (image.sha256, image.size_bytes):
        raise Internal(f"{path.name} is damaged: it is not what was written")


def problem_of(esp: Path, image: Image, report: Callable[[int], None] = lambda _: None) -> str:
    """What is wrong with *image* on the ESP and what lies beside it; empty if nothing is."""
    try:
        verify(path_of(esp, image.id), image, report)
        return _problem_beside(esp / IMAGES, image)
    except Internal as error:
        return error.message
    except OSError as error:
        return f"{os.path.basename(error.filename or '')}: {error.strerror}"


def is_well_beside(esp: Path, image: Image) -> bool:
    """Whether what lies beside *image* is as the boot loader wants it."""
    try:
        return not _problem_beside(esp / IMAGES, image)
    except OSError:
        return False


def _problem_beside(directory: Path, image: Image) -> str:
    """Whether the boot loader, which has its own list of hashes, takes the image."""
    _, env, sums = names_of(image.id)
    found = {}
    for line in (directory / sums).read_text("ascii", "replace").splitlines():
        digest, _, name = line.partition("  ")
        found[name.rpartition("/")[2]] = digest
    wanted = {f"{image.id}.efi": image.sha256, env: digest_of(directory / env)}
    return "" if found == wanted else f"{sums} does not say what is there"


def digest_of(path: Path, report: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of *path* as it is on the disk. Raises OSError: it cannot be read."""
    digest, done = sha256(), 0
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        while data := os.read(descriptor, PART_BYTES):
            digest.update(data)
            done += len(data)
            report(done)
    finally:
        # So that what memory there is does not go to an image that is read once.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    return str(digest.hexdigest())


def build_of(path: Path) -> str:
    """What the image at *path* says of itself; empty if it says nothing."""
    found = describe_file(path)
    return "" if found is None else found.build


def describe_file(path: Path) -> Description | None:
    """What the image at *path* is; None if it does not say. Raises OSError: it cannot be read."""
    with path.open("rb") as image:

        def read(offset: int, size_bytes: int) -> bytes:
            image.seek(offset)
            return image.read(size_bytes)

        try:
            return describe(read)
        except InvalidArgument:
            return None


def present(esp: Path) -> set[str]:
    """The identities of the images that are there."""
    try:
        names = os.listdir(esp / IMAGES)
    except FileNotFoundError:
        return set()
    return {name.removesuffix(".efi") for name in names if name.endswith(".efi")}


def remove_all_but(esp: Path, kept: Iterable[str]) -> list[str]:
    """Remove every image that is not *kept*, and what a crash left; the identities. Repeatable."""
    directory, kept = esp / IMAGES, set(kept)
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    unneeded = [name for name in names if name.partition(".")[0] not in kept]
    # The image first: one without its other files must not be there.
    for name in sorted(unneeded, key=lambda name: not name.endswith(".efi")):
        os.unlink(directory / name)
    if unneeded:
        atomic_file.sync_directory(directory)
    return sorted({name.partition(".")[0] for name in unneeded} - {""})
