"""Power cuts on what a machine has really written: the disks there could be, what becomes of them.

A machine's disk is recorded (`write_log`). For each cut the disk is made as it may be found. What
the boot loader would start, and e2fsck for the state, are tried here, for every cut. Many of them
leave the same to the next boots (`disk_state`): what those do with it is done once for each
different disk, by another machine with the kernel and the code of the product (`judge_main`), which
is booted once for all of them. After that both file systems are looked at by e2fsck and fsck.fat.
"""

from __future__ import annotations

import contextlib
import json
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
from orlop.lib.disk_layout import plan_disk
from orlop.lib.process import run
from orlop.vm.qemu import AGENT_SOCKET
from orlop.vm.sockets import connect_in
from orlop.vm.spec import DirectKernel, Disk
from tests.vm import disk_state, judge_main
from tests.vm.next_image import COMPRESSION, take_apart
from tests.vm.replay import Replay
from tests.vm.write_log import SECTOR_BYTES, Cut, Entry, cuts, read_log

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from orlop.lib.disk_layout import DiskLayout
    from orlop.vm.machine import Machine
    from tests.vm.lab import Lab

ANSWER_S = 300.0
BOOT_S = 300.0
REPORT = 20
BEFORE, LOG = "before.raw", "writes.log"
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

    @staticmethod
    def load(scratch: Path) -> Recording | None:
        """What was recorded in *scratch*, and saved; None if nothing was."""
        try:
            saved = json.loads((scratch / "recording.json").read_bytes())
        except FileNotFoundError:
            return None
        phases = [(str(name), int(place)) for name, place in saved["phases"]]
        layout = plan_disk((scratch / BEFORE).stat().st_size)
        return Recording(scratch / BEFORE, scratch / LOG, layout, saved["builds"], phases)

    def save(self) -> None:
        text = json.dumps({"builds": self.builds, "phases": self.phases})
        self.log.with_name("recording.json").write_text(text)

    def known(self) -> set[str]:
        """Digests of the disks that were judged before, and come to a good end."""
        path = self.log.with_name("known")
        return set(path.read_text().split()) if path.exists() else set()

    def add_known(self, digest: str) -> None:
        with self.log.with_name("known").open("a") as file:
            file.write(f"{digest}\n")

    def phase_of(self, entry: Entry) -> str:
        return next(name for name, place in reversed(self.phases) if place <= entry.place)


def record(disk: Path, scratch: Path, layout: DiskLayout, builds: dict[str, str]) -> Recording:
    """What is to be written to *disk* from now on, if `Recording.log` is its `record`."""
    before, log = scratch / BEFORE, scratch / LOG
    run(["cp", "--sparse=always", disk, before])
    log.touch()
    return Recording(before, log, layout, builds, [("start", 0)])


class Court:
    """The disk *judged* is made as it is after each cut, and given to the judging machine."""

    def __init__(self, recording: Recording, scratch: Path) -> None:
        self._recording, self._scratch = recording, scratch
        self._replay = Replay(recording.before, recording.log, scratch)
        self.entries, self.judged = self._replay.entries, self._replay.judged
        self.judged_log = scratch / "judged.log"
        self.judged_log.write_bytes(b"")
        self._seen = SECTOR_BYTES
        self._changed: list[tuple[int, int]] = []
        self._watch = disk_state.Watch(self.judged, recording.layout, scratch)

    def show(self, cut: Cut) -> disk_state.Found:
        """Make the disk as *cut* leaves it; cuts come in their order. What boots would find.

        Raises:
            AssertionError: as `disk_state.Watch.look`.
        """
        self._changed += self._replay.show(cut)
        found = self._watch.look(self._changed)
        self._changed = []
        return found

    def heard(self) -> None:
        """The machine has written to the disk: that is to be put back."""
        written, self._seen = read_log(self.judged_log, self._seen)
        self._replay.put_back((entry.offset_bytes, entry.size_bytes) for entry in written)

    def check_file_systems(self) -> int:
        """Both are sound after those boots; how many clusters of the ESP belong to nobody."""
        state, esp = self._recording.layout.state, self._recording.layout.esp
        place = f"{self.judged}?offset={state.start_bytes}"
        run(["e2fsck", "-f", "-n", place], timeout_s=120)
        copy = self._scratch / "esp.fat"
        disk_state.extract(self.judged, esp.start_bytes, esp.size_bytes, copy)
        answer = run(["sh", "-c", 'fsck.fat -n "$1" || true', "-", copy], timeout_s=120)
        lines = [line.strip() for line in answer.splitlines()]
        wrong = [line for line in lines if not _HARMLESS.match(line)]
        assert not wrong, "\n".join(lines)
        lost = re.search(r"Reclaimed (\d+)", answer)
        return int(lost[1]) if lost else 0


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
    checker: Counter[int] = field(default_factory=Counter)
    """The exit status of e2fsck: 1 is "mended"."""
    states: set[str] = field(default_factory=set)
    boots: Counter[int] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    kernel: Counter[str] = field(default_factory=Counter)
    lost_clusters: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lost = self.lost_clusters or [0]
        return "\n".join(
            [
                f"{sum(self.cuts.values())} power cuts, {len(self.failures)} need a hand",
                f"{len(self.states)} different disks, {len(self.lost_clusters)} of them booted",
                *(f"  {number:5} {name}" for name, number in sorted(self.cuts.items())),
                f"exit status of e2fsck: {dict(sorted(self.checker.items()))}",
                f"boots until nothing is under way: {dict(sorted(self.boots.items()))}",
                "what they did:",
                *(f"  {number:5} {name}" for name, number in self.actions.most_common()),
                "what the kernel said of file systems:",
                *(f"  {number:5} {name}" for name, number in self.kernel.most_common(12)),
                f"clusters of the ESP lost: at most {max(lost)}, {sum(map(bool, lost))} times",
            ]
        )

    def fail(self, phase: str, cut: Cut, error: Exception) -> None:
        self.failures.append(f"{phase}, {cut}: {error}")
        print(self.failures[-1], flush=True)


def judge(lab: Lab, recording: Recording, number: int, scratch: Path, seed: int) -> Verdicts:
    """Cut the power at *number* points of *recording*.

    *scratch* is that of `make_next`, where what is taken apart already is used.
    """
    verdicts = Verdicts()
    different = look_at_all(recording, number, scratch, seed, verdicts)
    print(verdicts, flush=True)
    known = recording.known()
    left = [cut for digest, cut in different.items() if digest not in known]
    if left:
        court = Court(recording, scratch)
        with judging(lab, court, scratch) as bench:
            for count, cut in enumerate(left):
                phase = recording.phase_of(court.entries[cut.count - 1])
                try:
                    _judge_one(court, bench, cut, recording, verdicts, count % UPDATE_AGAIN == 0)
                except Exception as error:  # noqa: BLE001 - the next ones are tried as well
                    verdicts.fail(phase, cut, error)
                court.heard()
                if count % REPORT == 0:
                    print(verdicts, flush=True)
    return verdicts


def look_at_all(
    recording: Recording, number: int, scratch: Path, seed: int, verdicts: Verdicts
) -> dict[str, Cut]:
    """Make the disk as each of *number* cuts leaves it; the first one that leaves each."""
    court, different = Court(recording, scratch), dict[str, Cut]()
    for cut in cuts(court.entries, number, random.Random(seed)):
        phase = recording.phase_of(court.entries[cut.count - 1])
        verdicts.cuts[f"{phase}, lost: {cut.lost}"] += 1
        try:
            found = court.show(cut)
        except Exception as error:  # noqa: BLE001 - the next ones are tried as well
            verdicts.fail(phase, cut, error)
            continue
        verdicts.checker[found.checker] += 1
        verdicts.states.add(found.digest)
        different.setdefault(found.digest, cut)
    return different


def _judge_one(
    court: Court,
    bench: Bench,
    cut: Cut,
    recording: Recording,
    verdicts: Verdicts,
    is_another: bool,
) -> None:
    digest = court.show(cut).digest
    answer = bench.ask(recording.builds, f"another {cut.count}" if is_another else "")
    if "failure" in answer:
        raise AssertionError(answer["failure"])
    assert answer["checker"] in {0, 1}, answer
    assert answer["agree"] is True, answer
    assert answer["staged"] == "", answer
    assert answer["unfinished"] is False, answer
    assert set(answer["statuses"]) <= {"Done", "Undone"}, answer
    verdicts.boots[answer["boots"]] += 1
    verdicts.actions.update(re.sub(r"\d+|[0-9a-f]{16,}", "N", said) for said in answer["said"])
    verdicts.kernel.update(
        re.sub(r"\d+", "N", line.partition(": ")[2]) for line in answer["kernel"]
    )
    verdicts.lost_clusters.append(court.check_file_systems())
    recording.add_known(digest)
