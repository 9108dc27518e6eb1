"""At no point of an installation does a disk that is not whole look as if it were."""

from __future__ import annotations

import pytest

from orlop.lib import bios_loader, disk_layout
from orlop.lib.errors import InvalidArgument
from orlop.system.install import plan
from orlop.system.install.disks import MARK
from orlop.system.install.plan import BootPartition, KeptState, NewState, Put, Step

MIB = 1 << 20
SIZE = 1024 * MIB
CODE = b"C" * 430 + bytes(80) + b"\x55\xaa"
CORE = (
    b"K" * 500 + (2).to_bytes(8, "little") + bytes(2) + (0x820).to_bytes(2, "little") + b"R" * 900
)
LOADER = CODE + CORE
GUIDS = bytes(range(64))


def writes(steps: tuple[Step, ...]) -> list[tuple[int, bytes]]:
    return [
        (write.offset_bytes, write.data)
        for step in steps
        if isinstance(step, Put)
        for write in step.writes
    ]


def test_a_new_disk_boots_with_the_very_last_write() -> None:
    for sector in (512, 4096):
        steps = plan.plan_new(4 * SIZE, sector, LOADER, GUIDS)
        kinds = [type(step) for step in steps]
        assert kinds == [Put, Put, BootPartition, NewState, Put]
        done = writes(steps)
        (first, marked), *between, (offset, head) = done
        assert first == offset == 0
        assert len(marked) == len(head) == sector, "what a disk writes whole or not at all"
        assert marked.strip(b"\0") == MARK
        assert head.startswith(b"C" * 430 if sector == 512 else bytes(446))
        assert (between[-1][0], between[-1][1][:8]) == (sector, b"EFI PART")
        assert all(at >= sector for at, _ in between), "the mark stays until the end"


def test_a_kept_state_comes_first_and_the_disk_boots_again_last() -> None:
    """A state that cannot be used, or is full, is found while the disk still starts what it did."""
    layout = disk_layout.plan_disk(SIZE)
    places = {part.name: (part.start_bytes, part.size_bytes) for part in layout.partitions}
    steps = plan.plan_kept(places, 512, LOADER)
    assert [type(step) for step in steps] == [KeptState, Put, Put, BootPartition, Put]
    done = writes(steps)
    assert done[0][0] == 0
    assert not any(done[0][1])
    assert (layout.esp.start_bytes, bytes(512)) in done
    code = bios_loader.place(LOADER, layout.bios.start_bytes, layout.bios.size_bytes).boot_code
    assert done[-1] == (0, code)
    assert len(code) <= 440, "the partition table in the same sector stays"
    assert all(at < layout.state.start_bytes for at, _ in done)


def test_a_disk_that_is_too_small() -> None:
    with pytest.raises(InvalidArgument, match="too small"):
        plan.plan_new(100 * MIB, 512, LOADER, GUIDS)


def test_each_step_has_words() -> None:
    steps = plan.plan_new(SIZE, 512, LOADER, GUIDS)
    words = [plan.describe(step) for step in steps]
    assert len({*words}) == len(words)
    assert "state partition" in " ".join(words)
