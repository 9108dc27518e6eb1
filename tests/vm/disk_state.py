"""What boots would find on a disk, as one digest: two disks with the same one have the same future.

Of the boot partition that is every file that a folder names, where it is, and whether there are
clusters that no file has; of the state partition what is known of updates, and the configuration,
when e2fsck has put its journal in order, as each boot has it do first. Free blocks, times, which
clusters are lost, and the second allocation table, which Linux does not read, count for nothing.
No machine is needed for that.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib import boot_files, boot_record, fat_orphans, fat_reader
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.lib.fat_entries import FOLDER
from orlop.lib.fat_reader import MAX_FILE_BYTES, MAX_FOLDER_BYTES, FileSystem, described, entries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from orlop.lib.disk_layout import DiskLayout
    from orlop.lib.fat_reader import Read
    from orlop.lib.partition_table import Partition

COPY_BYTES = 1 << 20
CANNOT_OPEN = 8
"""The exit status of e2fsck -p that has PID 1 run it with -y."""
FOLDERS = ("os", "config")
"""What the code of updates reads of the state."""
_DOTS = {".", ".."}


@dataclass(frozen=True, slots=True)
class Found:
    """*digest* of what is there; the exit status of e2fsck."""

    digest: str
    checker: int


class Watch:
    """What there is on *disk*, which changes between one look and the next."""

    def __init__(self, disk: Path, layout: DiskLayout, scratch: Path) -> None:
        self._disk, self._layout, self._scratch = disk, layout, scratch
        self._boot: list[str] = []
        self._state: list[str] = []
        self._checker = 0
        self._chosen: set[tuple[str, ...]] = set()

    def look(self, changed: Sequence[tuple[int, int]]) -> Found:
        """What is there now. *changed*: where, offsets and sizes, since the last time.

        Raises:
            AssertionError: the boot loader would have to pass by what it is told to start, or
                e2fsck leaves a file system that is not sound.
        """
        if not self._boot or _is_in(self._layout.esp, changed):
            self._boot = []  # should it fail
            self._boot = self._look_at_boot()
        if not self._state or _is_in(self._layout.state, changed):
            self._state = []
            self._state = self._look_at_state()
        lines = [f"e2fsck {self._checker}", *self._boot, *self._state]
        return Found(hashlib.sha256("\n".join(lines).encode()).hexdigest(), self._checker)

    def _look_at_boot(self) -> list[str]:
        start = self._layout.esp.start_bytes
        with self._disk.open("rb") as file:

            def read(offset: int, size: int) -> bytes:
                return os.pread(file.fileno(), size, start + offset)

            lines = [*boot_lines(read)]
            if tuple(lines) not in self._chosen:
                first_choice(read)
                self._chosen.add(tuple(lines))
        return lines

    def _look_at_state(self) -> list[str]:
        state, tree = self._scratch / "state.ext4", self._scratch / "state.tree"
        extract(self._disk, self._layout.state.start_bytes, self._layout.state.size_bytes, state)
        self._checker = check_state(state)
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
        words = [f"rdump lib/orlop/{folder} {tree}\n" for folder in FOLDERS]
        _run("debugfs", state, script="".join(words).encode())
        return ["the state", *state_lines(tree)]


def _is_in(part: Partition, changed: Sequence[tuple[int, int]]) -> bool:
    end = part.start_bytes + part.size_bytes
    return any(offset < end and offset + size > part.start_bytes for offset, size in changed)


class Unbootable(AssertionError):
    """The boot loader would have to pass by what it is told to start."""


def first_choice(read: fat_reader.Read) -> str:
    """What os/boot/disk.cfg starts first, with the same checks; its ID."""

    def file(name: str) -> bytes:
        return fat_reader.read_file(read, name)

    blocks = [boot_record.parse(file(f"orlop/{name}")) for name in boot_record.RECORDS]
    whole = [block for block in blocks if block is not None]
    if not whole:
        raise Unbootable("no boot record is whole")
    record = max(whole, key=lambda block: block.sequence)
    tried = boot_record.parse_tried(file(f"orlop/{boot_record.TRIED}"))
    is_trial = record.trial and tried != record.sequence
    chosen = record.trial if is_trial else record.default
    for image in dict.fromkeys((chosen, record.default)):  # which comes next if the trial is bad
        try:
            lines = file(f"{boot_files.IMAGES}/{image}.sum").decode().splitlines()
            if not any(line.endswith(f"/{image}.efi") for line in lines):
                raise Unbootable(f"{image}.sum does not have the image")
            for line in lines:
                digest, _, path = line.partition("  ")
                if hashlib.sha256(file(path.lstrip("/"))).hexdigest() != digest:
                    raise Unbootable(f"{path} is damaged")
        except (NotFound, InvalidArgument) as error:
            raise Unbootable(f"{image} cannot be read: {error}") from None
    return chosen


def _run(*words: str | Path, script: bytes | None = None) -> int:
    """The exit status; what is said counts for nothing."""
    out = subprocess.DEVNULL
    done = subprocess.run(words, input=script, stdout=out, stderr=out, timeout=120, check=False)
    return done.returncode


def check_state(state: Path) -> int:
    """What PID 1 has e2fsck do before it mounts *state*; its exit status."""
    checker = _run("e2fsck", "-p", state)
    if checker == CANNOT_OPEN:
        checker = _run("e2fsck", "-y", state)
    sound = _run("e2fsck", "-f", "-n", state)
    assert checker in {0, 1}, f"e2fsck -p ended with {checker}"
    assert sound == 0, f"e2fsck -n ended with {sound}"
    return checker


def boot_lines(read: Read) -> Iterator[str]:
    """What is in the file system that *read* reads."""
    system = FileSystem(read)
    try:
        lost = "some" if fat_orphans.find(system) else "no"
    except InvalidArgument as error:
        lost = str(error)
    yield f"{lost} clusters are lost"
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
                content = _content(system, first, min(size, MAX_FILE_BYTES))
        except InvalidArgument as error:
            yield f"{place} {kind} {first} {size} {error}"
            continue
        if kind & FOLDER:
            yield f"{place} {kind} {first}"
            yield from _folder(system, content, place)
        else:
            yield f"{place} {kind} {first} {size} {hashlib.sha256(content).hexdigest()}"


def _content(system: FileSystem, first: int, size: int) -> bytes:
    """As `FileSystem.content`, but clusters that follow one another are read at once."""
    pieces: list[bytes] = []
    start = length = 0
    wanted = -(-size // system.cluster_bytes)
    for cluster in itertools.islice(system.chain(first), wanted) if wanted else ():
        if cluster != start + length:
            pieces.append(_read(system, start, length))
            start, length = cluster, 0
        length += 1
    pieces.append(_read(system, start, length))
    return b"".join(pieces)[:size]


def _read(system: FileSystem, start: int, length: int) -> bytes:
    size = length * system.cluster_bytes
    return system.read(system.data_at + (start - 2) * system.cluster_bytes, size) if size else b""


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
            place = os.path.relpath(path, tree)
            yield f"{place} {status.st_mode:o} {status.st_uid} {content}"


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
