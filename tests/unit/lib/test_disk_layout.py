"""The partitions of an installed disk: they fill it, and a disk that is too small is refused."""

import pytest

from orlop.lib.disk_layout import MIN_ESP_BYTES, MIN_STATE_BYTES, plan_disk
from orlop.lib.errors import InvalidArgument
from orlop.lib.partition_table import make_table

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize("size", [300 * MIB, GIB, 8 * GIB, 8 * GIB + 512 * 7, 20_000 * GIB])
def test_the_disk_is_used_to_its_end(size: int) -> None:
    layout = plan_disk(size)
    assert make_table(layout.partitions, size, 512, bytes(64))
    end = layout.state.start_bytes + layout.state.size_bytes
    assert size - 2 * MIB < end < size
    assert layout.esp.size_bytes >= MIN_ESP_BYTES
    assert layout.state.size_bytes >= MIN_STATE_BYTES
    assert layout.esp.size_bytes <= 512 * MIB


def test_the_size_of_the_boot_partition_can_be_chosen() -> None:
    assert plan_disk(8 * GIB, esp_bytes=GIB).esp.size_bytes == GIB
    for wrong in (64 * MIB, 200 * MIB + 512):
        with pytest.raises(InvalidArgument, match="not possible"):
            plan_disk(8 * GIB, esp_bytes=wrong)


def test_large_sectors() -> None:
    layout = plan_disk(8 * GIB, 4096)
    assert make_table(layout.partitions, 8 * GIB, 4096, bytes(64))
    assert plan_disk(2 * GIB, 4096).esp.size_bytes == 512 * MIB
    assert plan_disk(2 * GIB + MIB, 4096, 300 * MIB).esp.size_bytes == 300 * MIB
    with pytest.raises(InvalidArgument):
        plan_disk(2 * GIB, 4096, 200 * MIB)


@pytest.mark.parametrize("size", [0, MIB, 128 * MIB, 250 * MIB])
def test_small_disks_are_refused(size: int) -> None:
    with pytest.raises(InvalidArgument, match=r"too small|do not fit|not a size"):
        plan_disk(size)
