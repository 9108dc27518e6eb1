"""Where a machine's extras are, that they are those of its build, and mounting them.

In this order: a disk or partition that the file was written to, by its label; the state; a file on
another file system of ours, by its label: the boot medium, the EFI system partition of an installed
machine, a stick. What is on the latter is copied into memory: the medium can be pulled, and is not
kept from being written. docs/storage.md names the places.
"""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.errors import Conflict
from orlop.lib.mount import MountFlag, detach, mount
from orlop.system.cloud import seed_disk
from orlop.system.storage import block_devices
from orlop.system.storage.extras import MOUNT_POINT
from orlop.system.storage.superblock import HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD = "/usr/lib/orlop/extras.json"
LABEL = "ORLOP_EXTRAS"
ON_STATE = "/var/lib/orlop/extras.erofs"
NAME = "orlop-extras.erofs"
MEDIA = ("ORLOP_LOAD", "ORLOP", "ORLOP_ESP")
"""Labels of file systems on which the file may be, under `NAME`, or by its digest as in the EFI
system partition."""

MEDIUM = "/run/orlop/extras-medium"
MEMORY = "/run/orlop/extras-memory"
TIMEOUT_S = 120.0
"""To read some megabytes from an old stick or a CD."""

ID_DIGITS = 16
MAX_BYTES = 256 << 20
_PIECE_BYTES = 1 << 20
_QUIET = MountFlag.NOSUID | MountFlag.NODEV


class Reader:
    """Reads what should be the extras. *size_bytes* and *digest* are those of this build."""

    def __init__(self, record: str = RECORD) -> None:
        """
        Raises:
            Conflict: the system says nothing of extras.
        """
        try:
            known = json.loads(Path(record).read_bytes())
            self.size_bytes, self.digest = int(known["size_bytes"]), str(known["sha256"])
        except (OSError, ValueError, TypeError, KeyError):
            raise Conflict("this system knows of no extras") from None

    @property
    def names(self) -> tuple[str, ...]:
        """What the file is called on a medium; first where an update puts that of its build."""
        return (f"orlop/extras-{self.digest[:ID_DIGITS]}.erofs", NAME, f"orlop/{NAME}")

    def verify(self, source: str, copy: str = "") -> None:
        """Whether *source*, a file or a disk, begins with them; *copy* gets a copy. Blocks.

        Raises:
            Conflict: they are others.
            OSError: it cannot be read, or the copy cannot be written.
        """
        from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]

        digest = sha256()
        with open(source, "rb", buffering=0) as stream, open(copy or os.devnull, "wb") as target:
            left = min(self.size_bytes, MAX_BYTES)
            while left and (piece := stream.read(min(left, _PIECE_BYTES))):
                digest.update(piece)
                target.write(piece)
                left -= len(piece)
        if left or digest.hexdigest() != self.digest:
            raise Conflict(f"the extras on {source} are those of another build: they are not used")


async def find_and_mount() -> str:
    """Mount the first extras of this build that there are; where they were.

    Raises:
        Conflict: there are none, with what was wrong with those that there are.
    """
    reader = Reader()
    problems: list[str] = []
    names = block_devices.candidates(optical=True)
    # A stick or CD that does not answer, and those that are none of ours, cost one limit in all.
    for place, use in (
        *[(v.device, _use) for v in await block_devices.probe(names) if _is_written_to(v)],
        *([(ON_STATE, _use)] if os.path.exists(ON_STATE) else []),
        *[(f"/dev/{name.replace('!', '/')}", _use_medium) for name in names],
    ):
        try:
            if found := await run_bounded(partial(use, place, reader), TIMEOUT_S):
                return found
        except TimeoutError:
            problems.append(f"{place} does not answer")
        except Conflict as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{place}: {error.strerror}")
    raise Conflict("; ".join(problems) or f"{NAME} is on no disk")


def _is_written_to(volume: block_devices.Volume) -> bool:
    return (volume.superblock.fstype, volume.superblock.label) == ("erofs", LABEL)


def _use(source: str, reader: Reader) -> str:
    reader.verify(source)
    os.makedirs(MOUNT_POINT, exist_ok=True)
    mount(source, MOUNT_POINT, "erofs", _QUIET | MountFlag.RDONLY)
    return source


def _use_medium(device: str, reader: Reader) -> str:
    """Copy the file on *device* into memory and use it there; empty if the file is not there."""
    fstype = medium_type(device)
    if not fstype:
        return ""
    os.makedirs(MEDIUM, mode=0o700, exist_ok=True)
    mount(device, MEDIUM, fstype, _QUIET | MountFlag.RDONLY | MountFlag.NOEXEC)
    try:
        problem: Conflict | None = None
        for path in _present(f"{MEDIUM}/{name}" for name in reader.names):
            try:
                _use_copy(path, reader)
            except Conflict as error:
                problem = error
            else:
                return f"{device}, {path.removeprefix(MEDIUM)}"
        if problem is not None:
            raise problem
        return ""
    finally:
        detach(MEDIUM)


def _present(paths: Iterator[str]) -> Iterator[str]:
    return (path for path in paths if os.path.isfile(path))


def _use_copy(path: str, reader: Reader) -> None:
    os.makedirs(MEMORY, mode=0o700, exist_ok=True)
    # Not tmpfs: a file system in one of its files cannot be mounted.
    mount("extras", MEMORY, "ramfs", _QUIET | MountFlag.NOEXEC)
    try:
        reader.verify(path, f"{MEMORY}/{NAME}")
        _use(f"{MEMORY}/{NAME}", reader)
    except BaseException:
        detach(MEMORY)
        raise


def medium_type(device: str) -> str:
    """The file system on *device*, if its label is one of `MEDIA`; else empty. May block."""
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        head = os.pread(descriptor, HEAD_BYTES, 0)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    return next((fstype for fstype, label in seed_disk.labels(head) if label in MEDIA), "")
