"""The disks of an update are full, whatever verb needs room: it is done or undone, and goes on
when there is room again. The ESP and the state are file systems of their own here, with any number
of blocks free.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

from orlop.lib import mount
from orlop.lib.errors import OrlopError, ResourceExhausted
from orlop.lib.process import run
from orlop.system.updates import staging
from orlop.system.updates.routes import of_disk
from tests.engine.installed_machine import InstalledMachine, ServiceLab
from tests.engine.test_service_updates import (
    DATA,
    NEW,
    QUICK,
    SERVICES,
    WAIT,
    archive,
    runs,
    service,
    wait_for_data,
)
from tests.unit.system.updates.machine_tree import Tree
from tests.unit.system.updates.test_power_cuts import OPERATIONS, go_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

BLOCK_BYTES = 4096
SIZE_BYTES = 8 << 20
DISK_BYTES = 128 << 20
BLOCKS = 8
"""No verb of these small machines needs more than that."""


@contextlib.contextmanager
def machine(directory: Path, side: str) -> Iterator[Tree]:
    """A machine one of whose disks, *side*, can be full."""
    disk = directory / side
    disk.mkdir(parents=True)
    mount.mount("tmpfs", disk, "tmpfs", mount.MountFlag(0), f"size={SIZE_BYTES}")
    try:
        yield Tree(directory)
    finally:
        mount.detach(disk)


def fill(disk: Path, blocks: int) -> Path:
    """Leave that many blocks of *disk* free; the file that takes the others."""
    if (journal := disk / "os/journal").exists():
        # To the end of a block, with a line that says nothing: the next one needs another block.
        text = b'{"change":0,"":"%s"}' % (b"x" * (-(journal.stat().st_size + 28) % BLOCK_BYTES))
        with journal.open("ab") as stream:
            stream.write(b"%08x %s\n" % (crc32(text), text))
        assert journal.stat().st_size % BLOCK_BYTES == 0
    path, status = disk / "ballast", os.statvfs(disk)
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, status.f_bavail * BLOCK_BYTES)
        os.ftruncate(stream.fileno(), (status.f_bavail - blocks) * BLOCK_BYTES)
    return path


def error_of(act: Callable[[], None]) -> OSError | OrlopError | None:
    """Why *act* fails, if it does."""
    try:
        act()
    except (OSError, OrlopError) as error:
        return error
    return None


CASES = [("state", name) for name in OPERATIONS] + [
    ("esp", name) for name in OPERATIONS if "services" not in name
]


@pytest.mark.parametrize(("side", "name"), CASES)
def test_a_verb_that_needs_more_blocks_than_there_are(
    side: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Others may take the room between the look at it and the write.
    monkeypatch.setattr(staging, "check_space", lambda *_: None)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    prepare, act = OPERATIONS[name]
    refused = 0
    for blocks in range(BLOCKS):
        with machine(tmp_path / f"{blocks}", side) as tree:
            prepare(tree)
            ballast = fill(tree.directory / side, blocks)
            assert os.statvfs(ballast).f_bavail == blocks
            error = error_of(lambda: act(tree))
            refused += error is not None
            if isinstance(error, OSError):
                assert isinstance(of_disk(name, error), ResourceExhausted), error
            for _ in range(2):
                tree.boot_loader()
                with contextlib.suppress(OSError, OrlopError):
                    tree.come_up()
            ballast.unlink()
            tree.until_quiet()
            tree.check()
            go_on(tree)
    print(f"{name}, {side}: refused with {refused} of {BLOCKS} numbers of free blocks")
    if side == "state":
        assert 0 < refused < BLOCKS


@contextlib.contextmanager
def small_disk(directory: Path) -> Iterator[Path]:
    """A disk with a file system that holds the layers of images."""
    image, disk = directory / "disk.img", directory / "disk"
    with image.open("wb") as stream:
        stream.truncate(DISK_BYTES)
    run(["mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0", image])
    disk.mkdir()
    run(["mount", "-o", "loop", image, disk])
    try:
        yield disk
    finally:
        mount.detach(disk)


@contextlib.contextmanager
def full(disk: Path, spare_bytes: int = 0) -> Iterator[None]:
    """Nothing larger has room on *disk*."""
    path = disk / "ballast"
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 20, BLOCK_BYTES):
            with contextlib.suppress(OSError):
                while True:
                    stream.write(bytes(size))
        stream.truncate(stream.tell() - spare_bytes)
        os.fsync(stream.fileno())
    yield
    path.unlink()


@pytest.mark.parametrize("epoch", [0, 1])
def test_services_are_replaced_once_there_is_room(tmp_path: Path, epoch: int) -> None:
    with small_disk(tmp_path) as disk:
        (disk / "lab").mkdir()
        lab = ServiceLab(disk / "lab")
        lab.services(2, base=lab.service(*archive(), NEW, epoch=epoch))
        with InstalledMachine(SERVICES, disk, QUICK) as machine:
            machine.wait_for(runs("base"))
            _replace_services(machine, lab, disk)


def _replace_services(machine: InstalledMachine, lab: ServiceLab, disk: Path) -> None:
    before = service(machine)["image_id"]
    source = {"source": "/disk/lab/repo"}
    machine.do("trust", {"root": lab.root.decode()})
    with full(disk):
        assert machine.request("GET", "/orlop/os/status")[0] == 503
        for verb, body in (("stage", source), ("hold", {}), ("pin", {"generation": 1})):
            _check_full(machine.do(verb, body))
    assert machine.ask("status")["staged"] is None
    assert machine.do("stage", source)["result"]["generation"] == 2
    with full(disk):
        _check_full(machine.do("apply"))
        status = machine.ask("status")
        assert (status["staged"], status["bad"]) == (2, {}), "the release is not to blame"
        assert service(machine)["image_id"] == before
    assert "result" in machine.do("apply")
    assert service(machine)["image_id"] != before
    with full(disk):
        _check_full(machine.do("rollback"))
        assert service(machine)["image_id"] != before
    assert "result" in machine.do("rollback")
    assert service(machine)["image_id"] == before
    assert {row["status"] for row in machine.ask("history")} <= {"Done", "Undone"}


def _check_full(answer: dict[str, Any]) -> None:
    print(answer)
    error = answer["error"]
    text = error["message"].lower()
    assert error["kind"] == "ResourceExhausted" or "no space left" in text, answer


def test_a_service_that_fills_the_disk_is_not_taken(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        (disk / "lab").mkdir()
        lab = ServiceLab(disk / "lab")
        fills = NEW.replace(WAIT, "cat /dev/zero > /data/full; exit 3")
        lab.services(2, base=lab.service(*archive(), fills))
        with InstalledMachine(SERVICES, disk, QUICK) as machine:
            machine.wait_for(runs("base"))
            before = service(machine)["image_id"]
            assert "result" in machine.stage(lab)
            assert "not good with it" in machine.do("apply")["error"]["message"]
            machine.path(DATA).with_name("full").unlink()
            machine.wait_for(runs("base"))
            assert service(machine)["image_id"] == before


def test_what_cannot_be_put_back_is_put_back_once_the_disk_takes_it(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        (disk / "lab").mkdir()
        lab = ServiceLab(disk / "lab")
        fails = NEW.replace(WAIT, "sleep 1; exit 3")
        lab.services(2, base=lab.service(*archive(), fails))
        containers = disk / "var/lib/orlop/engine/containers"
        with InstalledMachine(SERVICES, disk, QUICK.replace("1s", "3s")) as machine:
            machine.wait_for(runs("base"))
            before = service(machine)["image_id"]
            assert "result" in machine.stage(lab)
            apply = threading.Thread(target=machine.do, args=("apply",))
            apply.start()
            wait_for_data(machine, ["old", "new"])
            run(["chattr", "+i", containers])
            apply.join()
            run(["chattr", "-i", containers])
            assert "service base cannot be put back" in machine.ask("history")[0]["error"]
            machine.wait_for(runs("base"))
            assert service(machine)["image_id"] == before
