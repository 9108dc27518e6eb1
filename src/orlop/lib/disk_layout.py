"""The partitions of a disk with an installed system: sizes in, partitions out.

BIOS and UEFI start from the same disk: GRUB for the one lies in a partition of its own, for the
other in the EFI system partition, which has the images too. The rest is the machine's state.
"""

from __future__ import annotations

from dataclasses import dataclass

from orlop.lib.errors import InvalidArgument
from orlop.lib.fat32 import plan_geometry
from orlop.lib.partition_table import (
    ALIGNMENT_BYTES,
    BIOS_BOOT,
    EFI_SYSTEM,
    LINUX_DATA,
    Partition,
    usable_end,
)

MIB = 1 << 20
ESP_LABEL = "ORLOP_ESP"
STATE_LABEL = "ORLOP_STATE"
BIOS_BYTES = MIB
MIN_ESP_BYTES = 128 * MIB
"""Three images of 20 MB, one that is being written, and room for what firmware puts there."""
ESP_BYTES = 512 * MIB
MIN_STATE_BYTES = 128 * MIB


@dataclass(frozen=True, slots=True)
class DiskLayout:
    """Partitions 1, 2 and 3 of a disk."""

    bios: Partition
    esp: Partition
    state: Partition

    @property
    def partitions(self) -> tuple[Partition, Partition, Partition]:
        return self.bios, self.esp, self.state


def plan_disk(disk_bytes: int, sector_bytes: int = 512, esp_bytes: int | None = None) -> DiskLayout:
    """Divide a disk. By default the boot partition has 512 MiB, of a small disk a quarter.

    Raises:
        InvalidArgument: the disk is too small, or the boot partition's size is not possible.
    """
    end = usable_end(disk_bytes, sector_bytes)
    if esp_bytes is None:
        smallest = MIN_ESP_BYTES * (sector_bytes // 512 if sector_bytes > 1024 else 1)
        esp_bytes = min(ESP_BYTES, max(smallest, disk_bytes // 4 // MIB * MIB))
    if esp_bytes < MIN_ESP_BYTES or esp_bytes % ALIGNMENT_BYTES:
        raise InvalidArgument(
            f"a boot partition of {esp_bytes} bytes is not possible",
            hint=f"whole MiB, and at least {MIN_ESP_BYTES // MIB} of them",
        )
    plan_geometry(esp_bytes, sector_bytes)
    bios = Partition("orlop-bios", BIOS_BOOT, ALIGNMENT_BYTES, BIOS_BYTES)
    esp = Partition("orlop-esp", EFI_SYSTEM, bios.start_bytes + BIOS_BYTES, esp_bytes)
    start = esp.start_bytes + esp_bytes
    if end - start < MIN_STATE_BYTES:
        needed = (start + MIN_STATE_BYTES + disk_bytes - end) // MIB + 1
        raise InvalidArgument(f"the disk is too small: {disk_bytes // MIB} MiB, not {needed}")
    return DiskLayout(bios, esp, Partition("orlop-state", LINUX_DATA, start, end - start))
