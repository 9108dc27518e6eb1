"""What boots would find on a disk, as one digest: two disks with the same one have the same future.

Of the boot partition that is the allocation table and every file that a folder names; of the state
partition what is there when e2fsck has put its journal in order, as each boot has it do first.
What no folder names, free blocks and times count for nothing. No machine is needed for that.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from functools import partial
from subprocess import DEVNULL
from subprocess import run as start
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.lib.fat_entries import FOLDER
from orlop.lib.fat_reader import MAX_FILE_BYTES, MAX_FOLDER_BYTES, FileSystem, described, entries
from orlop.lib.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orlop.lib.disk_layout import DiskLayout
    from orlop.lib.fat_reader import Read

COPY_BYTES = 1 << 20
CANNOT_OPEN = 8
"""The exit status of e2fsck -p that has PID 1 run it with -y."""
_DOTS = {".", ".."}


@dataclass(frozen=True, slots=True)
class Found:
    """*digest* of what is there; the exit status of e2fsck."""

    digest: str
    checker: int


def find(disk: Path, layout: DiskLayout, scratch: Path) -> Found:
    """What is on *disk*. Raises AssertionError: e2fsck leaves a file system that is not sound."""
    state, tree = scratch / "state.ext4", scratch / "state.tree"
    extract(disk, layout.state.start_bytes, layout.state.size_bytes, state)
    checker = check_state(state)
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    run(["debugfs", "-R", f"rdump /lib/orlop {tree}", state], timeout_s=120)
    digest = hashlib.sha256(f"{checker}\n".encode())
    with disk.open("rb") as file:
        start = layout.esp.start_bytes
        for line in boot_lines(lambda offset, size: os.pread(file.fileno(), size, start + offset)):
            digest.update(line.encode() + b"\n")
    for line in state_lines(tree):
        digest.update(line.encode() + b"\n")
    return Found(digest.hexdigest(), checker)


def check_state(state: Path) -> int:
    """What PID 1 has e2fsck do before it mounts *state*; its exit status."""
    check = partial(start, check=False, stdout=DEVNULL, stderr=DEVNULL, timeout=120)
    checker = check(["e2fsck", "-p", str(state)]).returncode
    if checker == CANNOT_OPEN:
        checker = check(["e2fsck", "-y", str(state)]).returncode
    sound = check(["e2fsck", "-f", "-n", str(state)]).returncode
    assert checker in {0, 1}, f"e2fsck -p ended with {checker}"
    assert sound == 0, f"e2fsck -n ended with {sound}"
    return checker


def boot_lines(read: Read) -> Iterator[str]:
    """What is in the file system that *read* reads."""
    system = FileSystem(read)
    yield hashlib.sha256(read(0, system.data_at)).hexdigest()
    yield from _folder(system, system.root, "")


def _folder(system: FileSystem, folder: bytes, path: str) -> Iterator[str]:
    for name, entry in entries(folder):
        if name in _DOTS:
            continue
        kind, first, size = described(entry)
        place = f"{path}/{name}"
        try:
            if kind & FOLDER:
                content = system.content(first, MAX_FOLDER_BYTES)
            else:
                content = system.content(first, min(size, MAX_FILE_BYTES)) if size else b""
        except InvalidArgument as error:
            yield f"{place} {kind} {first} {size} {error}"
            continue
        if kind & FOLDER:
            yield f"{place} {kind} {first}"
            yield from _folder(system, content, place)
        else:
            yield f"{place} {kind} {first} {size} {hashlib.sha256(content).hexdigest()}"


def state_lines(tree: Path) -> Iterator[str]:
    """What is in *tree*."""
    for folder, folders, files in os.walk(tree):
        folders.sort()
        for name in sorted([*folders, *files]):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            content = ""
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            yield f"{path} {status.st_mode:o} {status.st_uid} {content}"


def extract(disk: Path, start: int, size: int, target: Path) -> None:
    """Copy a part of *disk* that has holes."""
    with disk.open("rb") as source, target.open("wb") as copy:
        copy.truncate(size)
        at = start
        while at < start + size:
            try:
                at = os.lseek(source.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = min(os.lseek(source.fileno(), at, os.SEEK_HOLE), start + size)
            while at < end:
                data = os.pread(source.fileno(), min(end - at, COPY_BYTES), at)
                os.pwrite(copy.fileno(), data, at - start)
                at += len(data)
