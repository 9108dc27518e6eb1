"""Storage extras on the ESP: renewed with the image, as a system takes none but those of its build.

    /orlop/extras-ID.erofs    ID is the beginning of its SHA-256; where `storage.extras_media` looks

A machine whose state is on LUKS, RAID or LVM does not find it without them. So one that has extras
in use is given no image without those that the image says it takes. All functions block.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.errors import Conflict, Internal
from orlop.system.updates import staging
from orlop.wire.json_fields import SHA256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from orlop.system.updates.generations import Image
    from orlop.wire.release import Blob

FOLDER = "orlop"
_NAME = re.compile(r"extras-([0-9a-f]{16})\.erofs")
ID_DIGITS = 16


def path_of(esp: Path, digest: str) -> Path:
    """Where the extras with *digest* are, if they are there."""
    return esp / FOLDER / f"extras-{digest[:ID_DIGITS]}.erofs"


def present(esp: Path) -> set[str]:
    """The beginnings of the digests of those that are there."""
    try:
        names = os.listdir(esp / FOLDER)
    except FileNotFoundError:
        return set()
    return {match[1] for name in names if (match := _NAME.fullmatch(name))}


def is_whole(esp: Path, digest: str) -> bool:
    """Whether the extras with *digest* are there, and are what they should be."""
    try:
        return staging.digest_of(path_of(esp, digest)) == digest
    except OSError:
        return False


def wanted_by(esp: Path, image: str) -> str:
    """The digest of the extras that *image* on the ESP takes; empty if it does not say."""
    try:
        found = staging.describe_file(staging.path_of(esp, image))
    except OSError:
        return ""
    return found.extras if found is not None and SHA256.fullmatch(found.extras) else ""


def write(esp: Path, source: Path, extras: Blob, report: Callable[[int], None]) -> None:
    """Copy *source* to the ESP, and read it back. May run twice.

    Raises:
        InvalidArgument, Internal, OSError: as `staging.write_file`.
    """
    if is_whole(esp, extras.sha256):
        return
    target = path_of(esp, extras.sha256)
    target.unlink(missing_ok=True)  # damaged: nobody can use it
    staging.write_file(esp, source, target, extras, report)


def require(esp: Path, image: Image, in_use: str, *, unknown_is_fine: bool = False) -> None:
    """See that a machine which uses the extras *in_use* has those that *image* takes.

    *in_use* is empty where none are. What is used now and not on the ESP is found again where it
    is now, if it is the same.

    Raises:
        Conflict: it has not. Internal: they are damaged. OSError: the ESP cannot be read.
    """
    if not in_use:
        return
    wanted = wanted_by(esp, image.id)
    if not wanted:
        if unknown_is_fine:
            return
        raise Conflict(
            "this machine uses the storage extras, and the image does not say which it takes"
        )
    path = path_of(esp, wanted)
    if path.exists():
        if staging.digest_of(path) != wanted:
            path.unlink()  # the next one to be staged brings it anew
            raise Internal(f"{path.name} was damaged: the image would not find its storage")
    elif wanted != in_use:
        raise Conflict(
            "this machine uses the storage extras (orlop-extras.erofs), and those that the image "
            "takes are not there: it might not find its state",
            hint="a release that is made with --extras brings them",
        )


def remove_all_but(esp: Path, images: Iterable[str]) -> None:
    """Remove the extras that none of *images* takes. None goes if an image does not say. May run
    twice."""
    there = present(esp)
    if not there:
        return
    kept = {wanted_by(esp, image)[:ID_DIGITS] for image in images if _is_there(esp, image)}
    if "" in kept or not there - kept:
        return
    for identity in sorted(there - kept):
        path_of(esp, identity).unlink()
    atomic_file.sync_directory(esp / FOLDER)


def _is_there(esp: Path, image: str) -> bool:
    return staging.path_of(esp, image).exists()
