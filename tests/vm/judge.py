"""Power cuts on what a machine has really written: the disks there could be, what becomes of them.

A machine's disk is recorded (`write_log`). For each cut the disk is made as it may be found; then
what the boot loader would start is checked here, and what the next boots do with it is done by
another machine with the kernel and the code of the product (`judge_main`), which is booted once for
all of them. After that both file systems are looked at by e2fsck and fsck.fat.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orlop.image.command_line import default_command_line
from orlop.image.initrd import initrd_members, write_cpio
from orlop.lib import boot_files, boot_record, fat_reader
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.lib.process import run
from orlop.vm.qemu import AGENT_SOCKET
from orlop.vm.sockets import connect_in
from orlop.vm.spec import DirectKernel, Disk
from tests.vm import judge_main
from tests.vm.next_image import COMPRESSION, take_apart
from tests.vm.write_log import SECTOR_BYTES, Cut, Entry, cuts, read_log, survivors

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from orlop.lib.disk_layout import DiskLayout
    from orlop.vm.machine import Machine
    from tests.vm.lab import Lab

ANSWER_S = 300.0
BOOT_S = 300.0
REPORT = 20
UPDATE_AGAIN = 5
"""Of so many cuts one is followed by another update."""
_HARMLESS = re.compile(
    r"fsck\.fat |Dirty bit is set|properly unmounted|Automatically removing|"
    r"There are differences between boot sector|This is mostly harmless|65:01/00$|"
    r"Not automatically fixing|FATs differ but appear to be intact|Using first FAT|"
    r"Leaving |.*: \d+ files, \d+/\d+ clusters|$|"
    r"Reclaimed \d+ unused clusters?|Reclaiming unconnected|"
    r"Free cluster summary |.*Auto-correcting|.*\(was wrong\)"
)
"""What fsck.fat says of clusters that a power cut has left to nobody, and of nothing at all."""


@dataclass(slots=True)
class Recording:
    """A disk that was *before*, and the *log* of what was written to it since.

    *builds* has the builds of the images by their IDs; *phases* where in the log what began.
    """

    before: Path
    log: Path
    layout: DiskLayout
    builds: dict[str, str]
    phases: list[tuple[str, int]] = field(default_factory=list)

    def mark(self, name: str) -> None:
        """From now on the machine does *name*."""
        self.phases.append((name, self.log.stat().st_size))

    def phase_of(self, entry: Entry) -> str:
        return next(name for name, place in reversed(self.phases) if place <= entry.place)


def record(disk: Path, scratch: Path, layout: DiskLayout, builds: dict[str, str]) -> Recording:
    """What is to be written to *disk* from now on, if `Recording.log` is its `record`."""
    before, log = scratch / "before.raw", scratch / "writes.log"
    run(["cp", "--sparse=always", disk, before])
    log.touch()
    return Recording(before, log, layout, builds, [("start", 0)])


class Unbootable(AssertionError):
    """The boot loader would have to pass by what it is told to start."""


class Court:
    """The disk *judged* is made as it is after each cut, and given to the judging machine."""

    def __init__(self, recording: Recording, scratch: Path) -> None:
        self._recording, self._scratch = recording, scratch
        self.entries, _ = read_log(recording.log)
        self.judged, self.judged_log = scratch / "judged.raw", scratch / "judged.log"
        self._now = scratch / "now.raw"
        for path in (self.judged, self._now):
            run(["cp", "--sparse=always", recording.before, path])
        self.judged_log.touch()
        self._seen = SECTOR_BYTES
        self._position = 0
        self._dirty: list[tuple[int, int]] = []

    def show(self, cut: Cut) -> None:
        """Make the disk as *cut* leaves it; cuts come in their order."""
        flushed = cut.count
        while flushed and not self.entries[flushed - 1].is_flush:
            flushed -= 1
        pending = self.entries[flushed : cut.count]
        pieces = survivors(pending, cut.lost, random.Random(cut.seed))
        with (
            self._recording.log.open("rb") as log,
            self._now.open("r+b") as now,
            self.judged.open("r+b") as judged,
        ):
            for entry in self.entries[self._position : flushed]:
                _copy(log, entry.place, now, entry.offset_bytes, entry.size_bytes)
                self._dirty.append((entry.offset_bytes, entry.size_bytes))
            self._position = max(flushed, self._position)
            for offset, size in self._dirty:
                _copy(now, offset, judged, offset, size)
            self._dirty = []
            for entry, at, size in pieces:
                _copy(log, entry.place + at, judged, entry.offset_bytes + at, size)
                self._dirty.append((entry.offset_bytes + at, size))

    def heard(self) -> None:
        """The machine has written to the disk: that is to be put back."""
        written, self._seen = read_log(self.judged_log, self._seen)
        self._dirty += [(entry.offset_bytes, entry.size_bytes) for entry in written]

    def check_bootable(self) -> str:
        """What the boot loader would start, which must be whole; its ID."""
        esp = self._recording.layout.esp
        with self.judged.open("rb") as disk:

            def read(offset: int, size: int) -> bytes:
                return os.pread(disk.fileno(), size, esp.start_bytes + offset)

            return first_choice(read)

    def check_file_systems(self) -> int:
        """Both are sound after those boots; how many clusters of the ESP belong to nobody."""
        state, esp = self._recording.layout.state, self._recording.layout.esp
        place = f"{self.judged}?offset={state.start_bytes}"
        run(["e2fsck", "-f", "-n", place], timeout_s=120)
        copy = self._scratch / "esp.fat"
        _extract(self.judged, esp.start_bytes, esp.size_bytes, copy)
        answer = run(["sh", "-c", 'fsck.fat -n "$1" || true', "-", copy], timeout_s=120)
        lines = [line.strip() for line in answer.splitlines()]
        wrong = [line for line in lines if not _HARMLESS.match(line)]
        assert not wrong, "\n".join(lines)
        lost = re.search(r"Reclaimed (\d+)", answer)
        return int(lost[1]) if lost else 0


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
    try:
        for line in file(f"{boot_files.IMAGES}/{chosen}.sum").decode().splitlines():
            digest, _, path = line.partition("  ")
            if hashlib.sha256(file(path.lstrip("/"))).hexdigest() != digest:
                raise Unbootable(f"{path} is damaged")
    except (NotFound, InvalidArgument) as error:
        raise Unbootable(f"{chosen} cannot be read: {error}") from None
    return chosen


def make_initrd(lab: Lab, scratch: Path) -> Path:
    """The product's image with `judge_main` as the program of PID 1; changes what is in `root`."""
    root, parts = scratch / "root", scratch / "parts"
    if not root.exists():
        take_apart(lab.out / "orlop.efi", root, parts)
    place = root / "usr/lib/orlop/python"
    (place / "__main__.pyc").unlink()
    shutil.copyfile(judge_main.__file__, place / "__main__.py")
    image, target = scratch / "judge.erofs", scratch / "judge.initrd"
    run(["mkfs.erofs", "--quiet", "-T", "0", "-x", "-1", *COMPRESSION, image, root])
    with target.open("wb") as stream:
        write_cpio(initrd_members(parts / "init", image), stream)
    return target


@contextlib.contextmanager
def judging(lab: Lab, court: Court, scratch: Path) -> Iterator[Bench]:
    """The machine that judges, booted."""
    medium = DirectKernel(
        lab.out / "vmlinuz", make_initrd(lab, scratch), default_command_line(lab.checkout)
    )
    disk = Disk(court.judged, serial=judge_main.SERIAL, record=court.judged_log)
    with lab.machine(medium, "judge", disks=(disk,), memory_mib=256) as machine:
        machine.start()
        with connect_in(machine.directory, AGENT_SOCKET) as connection:
            bench = Bench(machine, connection)
            assert bench.answer(BOOT_S) == {"ready": True}
            yield bench


class Bench:
    """Asks the judging machine."""

    def __init__(self, machine: Machine, connection: socket.socket) -> None:
        self.machine, self._connection = machine, connection

    def ask(self, builds: dict[str, str], another: str) -> dict[str, Any]:
        request = {"builds": builds, "another": another}
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        return self.answer(ANSWER_S)

    def answer(self, timeout_s: float) -> dict[str, Any]:
        until_s = time.monotonic() + timeout_s * self.machine.slow_factor
        self._connection.settimeout(5.0)
        found = b""
        while not found.endswith(b"\n"):
            try:
                part = self._connection.recv(1 << 16)
            except TimeoutError:
                self.machine.check_alive()
                assert time.monotonic() < until_s, f"no answer\n{self.machine.describe()}"
                continue
            assert part, f"no answer\n{self.machine.describe()}"
            found += part
        answer: dict[str, Any] = json.loads(found)
        return answer


@dataclass(slots=True)
class Verdicts:
    """What came of all the cuts."""

    cuts: Counter[str] = field(default_factory=Counter)
    """By what the machine did, and what was lost."""
    actions: Counter[str] = field(default_factory=Counter)
    boots: Counter[int] = field(default_factory=Counter)
    checker: Counter[int] = field(default_factory=Counter)
    """The exit status of e2fsck: 1 is "mended"."""
    kernel: Counter[str] = field(default_factory=Counter)
    lost_clusters: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lost = self.lost_clusters or [0]
        return "\n".join(
            [
                f"{sum(self.cuts.values())} power cuts, {len(self.failures)} need a hand",
                *(f"  {number:5} {name}" for name, number in sorted(self.cuts.items())),
                f"boots until nothing is under way: {dict(sorted(self.boots.items()))}",
                f"exit status of e2fsck: {dict(sorted(self.checker.items()))}",
                "what they did:",
                *(f"  {number:5} {name}" for name, number in self.actions.most_common()),
                "what the kernel said of file systems:",
                *(f"  {number:5} {name}" for name, number in self.kernel.most_common(12)),
                f"clusters of the ESP lost: at most {max(lost)}, {sum(map(bool, lost))} times",
            ]
        )


def judge(lab: Lab, recording: Recording, number: int, scratch: Path, seed: int) -> Verdicts:
    """Cut the power at *number* points of *recording*.

    *scratch* is that of `make_next`, where what is taken apart already is used.
    """
    court, verdicts = Court(recording, scratch), Verdicts()
    chosen = cuts(court.entries, number, random.Random(seed))
    with judging(lab, court, scratch) as bench:
        for cut in chosen:
            phase = recording.phase_of(court.entries[cut.count - 1])
            try:
                _judge_one(court, bench, cut, recording.builds, verdicts)
            except Exception as error:  # noqa: BLE001 - the next ones are tried as well
                verdicts.failures.append(f"{phase}, {cut}: {error}")
                print(verdicts.failures[-1], flush=True)
            court.heard()
            verdicts.cuts[f"{phase}, lost: {cut.lost}"] += 1
            if sum(verdicts.cuts.values()) % REPORT == 0:
                print(verdicts, flush=True)
    return verdicts


def _judge_one(
    court: Court, bench: Bench, cut: Cut, builds: dict[str, str], verdicts: Verdicts
) -> None:
    court.show(cut)
    court.check_bootable()
    another = f"another {cut.count}" if not verdicts.boots.total() % UPDATE_AGAIN else ""
    answer = bench.ask(builds, another)
    if "failure" in answer:
        raise AssertionError(answer["failure"])
    assert answer["checker"] in {0, 1}, answer
    assert answer["agree"] is True, answer
    assert answer["unfinished"] is False, answer
    assert set(answer["statuses"]) <= {"Done", "Undone"}, answer
    verdicts.checker[answer["checker"]] += 1
    verdicts.boots[answer["boots"]] += 1
    verdicts.actions.update(re.sub(r"\d+|[0-9a-f]{16,}", "N", said) for said in answer["said"])
    verdicts.kernel.update(
        re.sub(r"\d+", "N", line.partition(": ")[2]) for line in answer["kernel"]
    )
    verdicts.lost_clusters.append(court.check_file_systems())


def _copy(source: Any, place: int, target: Any, offset: int, size: int) -> None:
    while size:
        data = os.pread(source.fileno(), min(size, 1 << 20), place)
        if not data:  # beyond the end of a sparse file there is nothing
            data = bytes(min(size, 1 << 20))
        os.pwrite(target.fileno(), data, offset)
        place, offset, size = place + len(data), offset + len(data), size - len(data)


def _extract(disk: Path, start: int, size: int, target: Path) -> None:
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
            if at < end:
                _copy(source, at, copy, at - start, end - at)
            at = end
