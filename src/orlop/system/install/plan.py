"""What an installation does to a disk, step by step, decided before anything is touched. Pure.

At no moment does the disk start something that is not whole. On a disk that is made anew the first
sector, from which on it has partitions and boots, is written last; until then it has a mark. On
one whose state is kept that is looked after first: if it cannot be, the disk starts what it did.
Then the boot code and the head of the boot partition are taken away, and come back last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.lib import bios_loader, disk_layout, partition_table
from orlop.lib.fat32 import BACKUP_SECTOR, plan_geometry
from orlop.system.install.disks import MARK, PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.lib.partition_table import Partition, Write

EDGE_BYTES = 1 << 20
STATE_NUMBER = 3
GUID_BYTES = 16 * 4
_HEAD = "what starts a machine from the disk"


@dataclass(frozen=True, slots=True)
class Put:
    """Write *data*, in this order, each for good before the next."""

    what: str
    writes: tuple[Write, ...]


@dataclass(frozen=True, slots=True)
class BootPartition:
    """Make the file system that UEFI and GRUB read, its first sector last."""

    start_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NewState:
    """Make the state's file system, with the configuration in it; *mirrored*: on both disks."""

    start_bytes: int
    size_bytes: int
    encrypted: bool = False
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class KeptState:
    """Leave the state as it is, but for the configuration, if there is one, and old releases."""

    start_bytes: int
    size_bytes: int


type Step = Put | BootPartition | NewState | KeptState


def plan_new(
    size_bytes: int,
    sector: int,
    loader: bytes,
    guids: bytes,
    *,
    encrypted: bool = False,
    used_bytes: int = 0,
    mark: bytes = MARK,
) -> tuple[Step, ...]:
    """The steps for a disk on which nothing is kept. *guids*: `GUID_BYTES` random bytes.

    *used_bytes*: as many are divided, 0 for all. *mark*: what it has until it is done.

    Raises:
        InvalidArgument: the disk is too small, or *loader* is none.
    """
    layout = disk_layout.plan_disk(used_bytes or size_bytes, sector)
    bios, esp, state = layout.partitions
    placed = bios_loader.place(loader, bios.start_bytes, bios.size_bytes, sector)
    table = partition_table.make_table(
        layout.partitions, size_bytes, sector, guids, placed.boot_code
    )
    return (
        Put("erasing what was there", _erase(size_bytes, sector, mark)),
        Put("boot loader", (partition_table.Write(bios.start_bytes, placed.core),)),
        BootPartition(esp.start_bytes, esp.size_bytes),
        NewState(state.start_bytes, state.size_bytes, encrypted),
        Put(_HEAD, table),
    )


def plan_mirrored(
    sizes_bytes: tuple[int, int],
    sector: int,
    loader: bytes,
    guids: tuple[bytes, bytes],
    *,
    encrypted: bool = False,
) -> tuple[tuple[int, Step], ...]:
    """The steps for two disks that are divided alike, each with the number of its disk, 0 or 1.

    The second is whole first. From then on the machine starts from it; the mark of the other names
    it, so that an interruption between the two needs nobody's permission to begin again.

    Raises:
        InvalidArgument: as `plan_new`.
    """
    marks = MARK + partition_table.random_guid(guids[1][:16]), MARK
    first, second = (
        plan_new(
            sizes_bytes[number],
            sector,
            loader,
            guids[number],
            encrypted=encrypted,
            used_bytes=min(sizes_bytes),
            mark=marks[number],
        )
        for number in (0, 1)
    )
    found: list[tuple[int, Step]] = []
    for one, other in zip(first[:-1], second[:-1], strict=True):
        if isinstance(one, NewState):
            found.append((0, replace(one, mirrored=True)))
        else:
            found += [(0, one), (1, other)]
    return (*found, (1, second[-1]), (0, first[-1]))


def _erase(size_bytes: int, sector: int, mark: bytes) -> tuple[Write, ...]:
    """The mark first: an interruption leaves either what was there or our unfinished work."""
    end = size_bytes // sector * sector
    return (
        partition_table.marked_sector(mark, sector),
        partition_table.Write(sector, bytes(EDGE_BYTES - sector)),
        partition_table.Write(end - EDGE_BYTES, bytes(EDGE_BYTES)),
    )


def plan_kept(
    places: Mapping[str, tuple[int, int]], sector: int, loader: bytes
) -> tuple[Step, ...]:
    """The steps for a disk whose partitions are at *places* (`install.disks.own_partitions`).

    Raises:
        InvalidArgument: a partition is too small, or *loader* is none.
    """
    bios_at, bios_bytes = places[PARTITIONS[0]]
    esp_at, esp_bytes = places[PARTITIONS[1]]
    plan_geometry(esp_bytes, sector)
    placed = bios_loader.place(loader, bios_at, bios_bytes, sector)
    code = placed.boot_code
    return (
        KeptState(*places[PARTITIONS[2]]),
        Put(
            "the disk does not boot any more",
            (
                partition_table.Write(0, bytes(len(code))),
                partition_table.Write(esp_at, bytes(sector)),
                partition_table.Write(esp_at + BACKUP_SECTOR * sector, bytes(sector)),
            ),
        ),
        Put("boot loader", (partition_table.Write(bios_at, placed.core),)),
        BootPartition(esp_at, esp_bytes),
        Put(_HEAD, (partition_table.Write(0, code),)),
    )


def plan_half(
    parts: Sequence[Partition],
    size_bytes: int,
    sector: int,
    code: tuple[bytes, bytes],
    guids: bytes,
) -> tuple[Step, ...]:
    """The steps for a disk that becomes the other half of a mirror: it is divided as *parts*.

    *code*: what a BIOS starts on the disk that is there, in its first sector and its partition.
    The state is filled by the kernel, before the disk starts anything.

    Raises:
        InvalidArgument: the disk is too small.
    """
    head, core = code
    table = partition_table.make_table(parts, size_bytes, sector, guids, head if any(head) else b"")
    bios, esp, state = parts
    return (
        Put("erasing what was there", _erase(size_bytes, sector, MARK)),
        Put("boot loader", (partition_table.Write(bios.start_bytes, core),)),
        BootPartition(esp.start_bytes, esp.size_bytes),
        NewState(state.start_bytes, state.size_bytes, mirrored=True),
        Put(_HEAD, table),
    )


def describe(step: Step) -> str:
    """*step* for people."""
    match step:
        case Put(what, _):
            return what
        case BootPartition(_, size):
            return f"boot partition, {size >> 20} MiB"
        case NewState(_, size, encrypted, mirrored):
            more = f"{', encrypted' if encrypted else ''}{', on both disks' if mirrored else ''}"
            return f"state partition, {size >> 20} MiB{more}"
        case KeptState(_, _):
            return "the state stays as it is"
