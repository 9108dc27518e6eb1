"""Two EFI system partitions of which the machine starts from either: kept alike.

An update is done to the first; when it has come to its end, or was interrupted, the others are made
like it. Each is whole at every moment: files come before the boot record that names them, and go
after it. So whichever the firmware takes, it starts what was good before or what is good now.
Firmware may write to them: what is not ours is left as it is.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib import atomic_file, boot_record, fat_reader
from orlop.lib.boot_files import APPEND
from orlop.lib.errors import Internal, NotFound, OrlopError
from orlop.system.updates import staging
from orlop.system.updates.ledger import RECORDS
from orlop.wire.release import Blob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orlop.lib.boot_record import BootRecord

    type Read = Callable[[int, int], bytes]

SMALL_BYTES = 64 << 10
"""What is larger has a name that says what is in it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is on the partition *device*: `lib.boot_record.read`, and files with their sizes."""

    device: str
    record: BootRecord | None = None
    tried: int = 0
    files: tuple[tuple[str, int], ...] = ()

    @property
    def sequence(self) -> int:
        return self.record.sequence if self.record else 0

    @property
    def startable(self) -> int:
        """How many of the images are there that the record names."""
        there = {path for path, _ in self.files}
        return len(there & {_path_of(image) for image in _named(self.record)})

    @property
    def starts(self) -> bool:
        """Whether it starts something: there is a record, and the image that is its default."""
        there = {path for path, _ in self.files}
        return self.record is not None and _path_of(self.record.default) in there

    @property
    def on_trial(self) -> bool:
        """Whether the boot loader has begun a trial here last."""
        return bool(self.record and self.record.trial) and self.tried == self.sequence


def look(device: str) -> Standing:
    """What is on *device*, without a mount; nothing if it cannot be read."""
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return Standing(device)
    try:
        # What a mount has written is not in the cache of the device.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

        def read(offset: int, size: int) -> bytes:
            return os.pread(descriptor, size, offset)

        blocks = {name: _block(read, name) for name in _RECORDS}
        files = sorted((*_list(read, RECORDS), *_list(read, staging.IMAGES)))
    except (OrlopError, OSError):
        return Standing(device)
    finally:
        os.close(descriptor)
    found = [r for name in boot_record.RECORDS if (r := boot_record.parse(blocks[name]))]
    record = max(found, key=lambda record: record.sequence, default=None)
    return Standing(
        device, record, boot_record.parse_tried(blocks[boot_record.TRIED]), tuple(files)
    )


_RECORDS = (*boot_record.RECORDS, boot_record.TRIED)


def _block(read: Read, name: str) -> bytes:
    try:
        return fat_reader.read_file(read, f"{RECORDS}/{name}", SMALL_BYTES)
    except NotFound:
        return b""


def _list(read: Read, folder: str) -> list[tuple[str, int]]:
    # Linux notes small letters in a way of its own where a name is short: append.env.
    found = {name.lower(): size for name, size in fat_reader.list_files(read, folder).items()}
    return [(f"{folder}/{name}", size) for name, size in found.items() if _is_ours(folder, name)]


def _is_ours(folder: str, name: str) -> bool:
    """Whether it is the same on both: neither a record nor what never changes."""
    if folder == staging.IMAGES:
        return not name.startswith(atomic_file.TEMPORARY_PREFIX)
    return name == APPEND or (name.startswith("extras-") and name.endswith(".erofs"))


def in_order(found: Sequence[Standing], trusted: int) -> list[Standing]:
    """*found* with the one first that the others are to be like; pure.

    The first *trusted* of them are beside halves of the state that are in use: what the state knows
    of, they have. Of these it is the one that starts what it should, and was written last.
    """
    first = max(found[: max(trusted, 1)], key=lambda one: (one.starts, one.sequence, one.startable))
    return [first, *(one for one in found if one is not first)]


def mark_to_adopt(first: Standing, others: Sequence[Standing]) -> int:
    """The trial that the boot loader has noted on another than the *first*; 0 if none; pure."""
    is_noted = any(o.record == first.record and o.tried == first.sequence for o in others)
    return first.sequence if is_noted and first.tried != first.sequence else 0


def are_alike(found: Sequence[Standing]) -> bool:
    """Whether there is nothing to be done; pure."""
    first = found[0]
    return all((one.record, one.files) == (first.record, first.files) for one in found)


def equalise(first: Path, second: Path) -> None:
    """Make what is mounted at *second* like what is at *first*. May be interrupted and run again.

    Raises:
        OrlopError, OSError: it could not be done; *second* starts what it did, or as *first*.
    """
    record, tried = boot_record.read(first / RECORDS)
    wanted = _files(first)
    if _path_of(record.default) not in wanted:
        raise Internal(f"image {record.default} is not on the first any more")
    named: set[str] = set()
    with contextlib.suppress(NotFound):
        named = _named(boot_record.read(second / RECORDS)[0])
    _remove(second, lambda path: path in wanted or _is_of(path, named))
    for path in sorted(wanted, key=lambda path: path.endswith(".efi")):
        _bring(first, second, path)
    if boot_record.parse_tried(_read(second / RECORDS / boot_record.TRIED)) != tried:
        boot_record.write_tried(second / RECORDS, tried)
    boot_record.replace_all(second / RECORDS, record)
    # What only the second has left of these is not given up.
    _remove(second, lambda path: path in wanted or _image_of(path) in _named(record))


def _named(record: BootRecord | None) -> set[str]:
    names = (record.default, record.previous, record.trial, record.recovery) if record else ()
    return {*filter(None, names)}


def _path_of(image: str) -> str:
    return f"{staging.IMAGES}/{image}.efi"


def _image_of(path: str) -> str:
    return os.path.basename(path).partition(".")[0]


def damaged(first: Path, second: Path) -> list[str]:
    """Which files of *first* are not at *second* what their names say.

    Raises:
        OSError: one cannot be read.
    """
    files = _files(first)
    return [path for path in _files(second) if path in files and not _is_whole(second / path)]


def mend(first: Path, second: Path, paths: Sequence[str]) -> None:
    """Copy *paths*, which are `damaged`, anew, and make *second* like *first*.

    Raises:
        OrlopError, OSError: as `equalise`.
    """
    for path in paths:
        if _is_whole(first / path):
            (second / path).unlink()
    equalise(first, second)


def _is_whole(path: Path) -> bool:
    """Whether it is what its name says; what has no such name is compared by `equalise`."""
    if path.suffix not in (".efi", ".erofs"):
        return True
    return staging.digest_of(path).startswith(path.stem.removeprefix("extras-"))


def _is_of(path: str, images: set[str]) -> bool:
    """Whether it belongs to one of *images*, or may: extras are named by none."""
    return not path.startswith(staging.IMAGES) or _image_of(path) in images


def _files(esp: Path) -> Mapping[str, int]:
    found = {}
    for folder in (RECORDS, staging.IMAGES):
        for name in os.listdir(esp / folder):
            path = f"{folder}/{name}"
            if _is_ours(folder, name) and (esp / path).is_file():
                found[path] = (esp / path).stat().st_size
    return found


def _bring(first: Path, second: Path, path: str) -> None:
    source, target = first / path, second / path
    size = source.stat().st_size
    if size <= SMALL_BYTES:
        data = _read(source)
        if _read(target) != data:
            target.parent.mkdir(parents=True, exist_ok=True)
            staging.write_beside(target.parent, {target.name: data})
        return
    with contextlib.suppress(FileNotFoundError):
        if target.stat().st_size == size:
            return
        target.unlink()
    if not _is_whole(source):
        raise Internal(f"{path} is damaged on the first")
    file = Blob(staging.digest_of(source), size)
    (second / staging.IMAGES).mkdir(parents=True, exist_ok=True)
    staging.write_file(second, source, target, file, lambda _: None)


def _remove(esp: Path, is_kept: Callable[[str], bool]) -> None:
    """Remove what is ours and not kept, images before their other files; and what a crash left."""
    (esp / staging.IMAGES).mkdir(parents=True, exist_ok=True)
    atomic_file.remove_temporaries(esp / staging.IMAGES)
    atomic_file.remove_temporaries(esp / RECORDS)
    unneeded = [path for path in _files(esp) if not is_kept(path)]
    for path in sorted(unneeded, key=lambda path: not path.endswith(".efi")):
        os.unlink(esp / path)
    for folder in {os.path.dirname(path) for path in unneeded}:
        atomic_file.sync_directory(esp / folder)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
