"""The disks of an update are full, whatever verb needs room: it is done or undone, and goes on
when there is room again. The ESP and the state are file systems of their own here, with any number
of blocks free.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from orlop.lib import mount
from orlop.lib.errors import OrlopError, ResourceExhausted
from orlop.system.updates import staging
from orlop.system.updates.routes import of_disk
from tests.unit.system.updates.machine_tree import Tree
from tests.unit.system.updates.test_power_cuts import OPERATIONS, go_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

BLOCK_BYTES = 4096
SIZE_BYTES = 8 << 20
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
    assert os.statvfs(disk).f_bavail == blocks, disk
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
