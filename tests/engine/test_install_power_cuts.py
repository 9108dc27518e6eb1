"""The power goes while the system is installed: at every write that the kernel makes of it.

The disk is a loop device on a file of qemu-storage-daemon, which records each write and flush. Of
each disk that a power cut could have left (`tests.vm.write_log`) the machine either starts
something that is whole, or nothing; and to begin again needs nobody who says that anything may be
lost. ORLOP_TEST_CUTS says how many; a failure names the seed.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest

from orlop.lib.disk_layout import plan_disk
from orlop.system.install import disks
from orlop.system.install.disks import Content
from tests.engine.test_install_native import (
    MIB,
    LoopDisk,
    attached,
    check_installed,
    install,
    make_medium,
    result,
)
from tests.vm import disk_state
from tests.vm.replay import Replay
from tests.vm.write_log import Cut, cuts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

CUTS = int(os.environ.get("ORLOP_TEST_CUTS", "15"))
MANY = 1 << 20
SIZE_BYTES = 512 * MIB
AGAIN = 3
"""After one in so many it is begun again."""
CONFIG = "hostname: ship\n"
KEEP: dict[str, Any] = {"keep_state": True, "config": ""}


class Kind(StrEnum):
    """What is installed on."""

    NEW = "new"
    """An empty disk."""
    USED = "used"
    """One on which there is an installation, which is given up."""
    KEPT = "kept"
    """One on which there is an installation, whose state is kept."""


HOW: dict[Kind, dict[str, Any]] = {Kind.NEW: {}, Kind.USED: {"wipe": True}, Kind.KEPT: KEEP}


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_medium(tmp_path_factory.mktemp("medium"))


@contextmanager
def recorded(path: Path, log: Path) -> Iterator[LoopDisk]:
    """A disk in the file *path*; what is written to it is recorded in *log*."""
    log.touch()
    exported = path.with_name("exported")
    exported.touch()
    command = [
        "qemu-storage-daemon",
        *("--blockdev", f"driver=file,node-name=disk,filename={path}"),
        *("--blockdev", f"driver=file,node-name=log,filename={log}"),
        *("--blockdev", "driver=blklogwrites,node-name=recorded,file=disk,log=log"),
        *("--export", f"fuse,id=e,node-name=recorded,mountpoint={exported},writable=on"),
    ]
    pidfile = path.with_name("pid")
    started = [*command, "--daemonize", "--pidfile", str(pidfile)]
    done = subprocess.run(started, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no FUSE here: {done.stderr}")
    pid = os.pidfd_open(int(pidfile.read_text()))
    try:
        with attached(exported) as disk:
            yield disk
    finally:
        subprocess.run(["umount", str(exported)], check=True)
        signal.pidfd_send_signal(pid, signal.SIGTERM)
        select.select([pid], [], [])
        os.close(pid)


@dataclass
class Trials:
    """What became of the disks of *replay*."""

    medium: Path
    scratch: Path
    kind: Kind
    found: Counter[str] = field(default_factory=Counter)

    def judge(self, replay: Replay, cut: Cut, count: int) -> None:
        replay.show(cut)
        copy = self.scratch / "copy.raw"
        subprocess.run(["cp", "--sparse=always", replay.judged, copy], check=True)
        content, _, state = disks.look(str(copy))
        self.found[content] += 1
        with copy.open("rb") as file:
            starts = bool(file.read(440).strip(b"\0"))
        if content is Content.INSTALLED:
            assert starts
            self._check_whole(copy)
        else:
            assert content in {Content.EMPTY, Content.UNFINISHED}
            assert not starts, "a BIOS would start what is not whole"
        if self.kind is Kind.KEPT:
            assert state, "the state is lost"
        if count % AGAIN == 0 and (self.kind is Kind.KEPT or content is not Content.INSTALLED):
            self._begin_again(copy)

    def _check_whole(self, copy: Path) -> None:
        """As each boot does, e2fsck puts the journal of the state in order first."""
        state, part = self.scratch / "state.ext4", plan_disk(SIZE_BYTES).state
        disk_state.extract(copy, part.start_bytes, part.size_bytes, state)
        disk_state.check_state(state)
        words = [f"if={state}", f"of={copy}", "bs=1M", f"seek={part.start_bytes}"]
        more = ["oflag=seek_bytes", "conv=notrunc,sparse", "status=none"]
        subprocess.run(["dd", *words, *more], check=True)
        check_installed(LoopDisk(copy, ""), CONFIG)

    def _begin_again(self, copy: Path) -> None:
        with attached(copy) as disk:
            more = KEEP if self.kind is Kind.KEPT else {}
            made = result(install(self.medium, disk, **more))
            assert made["kept_state"] is (self.kind is Kind.KEPT)
            check_installed(disk, CONFIG)
        self.found["begun again"] += 1


def cut_anywhere(medium: Path, scratch: Path, number: int, kind: Kind) -> None:
    """Install on a disk of that *kind*; cut that *number* times."""
    path, before, log = scratch / "disk.raw", scratch / "before.raw", scratch / "writes.log"
    path.touch()
    os.truncate(path, SIZE_BYTES)
    if kind is not Kind.NEW:
        with attached(path) as disk:
            result(install(medium, disk, config=CONFIG))
    subprocess.run(["cp", "--sparse=always", path, before], check=True)
    with recorded(path, log) as disk:
        result(install(medium, disk, **HOW[kind]))
    replay, trials = Replay(before, log, scratch), Trials(medium, scratch, kind)
    seed = random.randrange(1 << 32)
    print(f"{len(replay.entries)} writes and flushes, seed {seed}")
    for count, cut in enumerate(cuts(replay.entries, number, random.Random(seed))):
        try:
            trials.judge(replay, cut, count)
        except BaseException:
            print(cut)
            raise
    print(count + 1, "power cuts", dict(trials.found))
    shutil.rmtree(scratch)


@pytest.mark.parametrize("kind", [Kind.NEW, Kind.KEPT])
def test_at_some_writes(medium: Path, tmp_path: Path, kind: Kind) -> None:
    cut_anywhere(medium, tmp_path, CUTS, kind)


@pytest.mark.long
@pytest.mark.parametrize("kind", [*Kind])
def test_at_every_write(medium: Path, tmp_path: Path, kind: Kind) -> None:
    cut_anywhere(medium, tmp_path, MANY, kind)
