"""A disk that becomes the other half of the mirror that this machine's state is on.

Divided like the disk that is there, with the same boot loaders and boot partition; the kernel fills
the state's half while the machine works. As for an installation, what makes it start is written
last, and it may be interrupted and begun again. Only in the installation's worker.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orlop.engine.worker_process import report
from orlop.lib import partition_table
from orlop.lib.atomic_file import TEMPORARY_PREFIX
from orlop.lib.boot_files import FOLDER, IMAGES
from orlop.lib.disk_ids import read_text
from orlop.lib.disk_layout import MIB
from orlop.lib.errors import Conflict, Internal, InvalidArgument, NotFound
from orlop.lib.fat32 import BACKUP_SECTOR, Piece, check_room
from orlop.lib.partition_table import Partition
from orlop.system.install import array, pairs
from orlop.system.install import disks as install_disks
from orlop.system.install import plan as install_plan
from orlop.system.install.disks import PARTITIONS, Content
from orlop.system.install.plan import BootPartition, KeptState, NewState, Put
from orlop.system.install.steps import empty_partition, make_boot_partition
from orlop.system.install.target import Target, partition_of
from orlop.system.storage import halves, mirror
from orlop.system.storage.block_devices import SYS_BLOCK
from orlop.system.updates import staging

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.lib.fat32 import Content as FileContent
    from orlop.system.install.disks import Disk
    from orlop.system.install.plan import Step
    from orlop.system.storage.mirror import Mirror

KINDS = (partition_table.BIOS_BOOT, partition_table.EFI_SYSTEM, partition_table.LINUX_DATA)

FOLDERS = ("EFI/BOOT", FOLDER)
"""Of the boot partition: the boot loader, and everything else."""

_CODE_BYTES = 440
_SYSFS_BYTES = 512


def repair(request: Mapping[str, Any]) -> None:
    """Do what is asked.

    Raises:
        OrlopError, OSError: it cannot be, or has failed.
    """
    found = mirror.of_state(request["state"])
    if found is None or not found.missing:
        raise Conflict("the state is on no mirror that lacks a half")
    array.forget_broken(found.device)
    disks = install_disks.read_all()
    good = _disk_of(found, disks)
    disk = pairs.choose_second([request["disk"]], good, disks)
    if _take_back(disk, found, wipe=request["wipe"]):
        _done(disk)
        return
    refused = install_disks.refusal(disk, wipe=request["wipe"], keep_state=False)
    if refused is not None and disk.busy and _half_of(disk) in found.whole:
        refused = Conflict(f"{disk.device} ({disk.label}) is half of the mirror already")
    if disk.sector_bytes != good.sector_bytes:
        refused = pairs.pair_refusal(good, disk)
    if refused is not None:
        raise refused
    _make(disk, good, found.device, request["esp"])
    _done(disk)


def remake_boot_partition(device: str, esp: str) -> None:
    """Make the boot partition *device* anew, with what is on the one that is mounted at *esp*.

    May be interrupted and run again: it has no file system before it is whole.

    Raises:
        OrlopError, OSError: it cannot be, or somebody uses it.
    """
    files = _files(esp)
    target = Target(device)
    try:
        check_room(target.size_bytes, files, target.sector_bytes)
        for sector in (0, BACKUP_SECTOR):
            target.write(sector * target.sector_bytes, bytes(target.sector_bytes))
        target.commit()
        place = f"{SYS_BLOCK}/{device.removeprefix('/dev/').replace('/', '!')}"
        start_bytes = int(read_text(place, "start") or 0) * _SYSFS_BYTES
        step = BootPartition(0, target.size_bytes)
        name = f"boot partition {device}"
        make_boot_partition(target, step, files, name, begins_at=start_bytes)
    finally:
        target.close()


def _done(disk: Disk) -> None:
    halves.forget()
    text = f"{disk.device} ({disk.label}) is the other half of the mirror: it is being filled"
    report({"text": text, "result": {"device": disk.device, "id": disk.label}})


def _disk_of(found: Mirror, disks: Sequence[Disk]) -> Disk:
    for disk in disks:
        if partition_of(disk.device, install_plan.STATE_NUMBER) in found.whole:
            return disk
    raise NotFound("the half of the mirror that is there is on no disk that an installation made")


def _half_of(disk: Disk) -> str:
    """The partition of *disk* that may be half of a mirror, if the rest is as it was made."""
    part = partition_of(disk.device, install_plan.STATE_NUMBER)
    return part if disk.content is Content.INSTALLED else ""


def _take_back(disk: Disk, found: Mirror, *, wipe: bool) -> bool:
    """Whether *disk* was a half of this mirror, and is one again.

    Raises:
        Conflict: it was used alone, and nobody has said that what was written then may be lost.
        OrlopError: mdadm refuses.
    """
    part = _half_of(disk)
    if not part or disk.busy:
        return False
    if part in mirror.members(found):
        array.add(found.device, part)
        return True
    for half, other in mirror.parted(found, [part]):
        if not wipe:
            raise Conflict(
                f"{disk.device} ({disk.label}) was used without the other half, last on "
                f"{halves.when(half.used_s)}: what was written to it then is not on "
                f"{other.device}, and would be lost",
                hint="--wipe gives it up; to keep it and give up what is here, start the machine "
                "with that disk alone",
            )
        array.add(found.device, part, anew=True)
        return True
    return False


def _make(disk: Disk, good: Disk, device: str, esp: str) -> None:
    files = _files(esp)
    source = Target(good.device, shared=True)
    try:
        places = install_disks.own_partitions(source.read, source.sector_bytes)
        if places is None:
            raise Conflict(f"{good.device} is not divided as an installation does it")
        parts = [
            Partition(name, kind, *places[name])
            for name, kind in zip(PARTITIONS, KINDS, strict=True)
        ]
        code = source.read(0, _CODE_BYTES), source.read(*places[PARTITIONS[0]])
    finally:
        source.close()
    target = Target(disk.device)
    try:
        if install_disks.has_changed(disk):
            raise Conflict(f"{disk.device} has changed since it was looked at: nothing is written")
        steps = _plan(disk, target, parts, code)
        check_room(parts[1].size_bytes, files, target.sector_bytes)
        target.forget_partitions()
        target.share()
        for step in steps:
            _do(step, target, parts, files, device)
    finally:
        target.close()


def _plan(
    disk: Disk, target: Target, parts: Sequence[Partition], code: tuple[bytes, bytes]
) -> Sequence[Step]:
    guids = os.urandom(install_plan.GUID_BYTES)
    try:
        return install_plan.plan_half(parts, target.size_bytes, target.sector_bytes, code, guids)
    except InvalidArgument:
        needed = (parts[-1].start_bytes + parts[-1].size_bytes) // MIB + 2
        raise Conflict(
            f"{disk.device} ({disk.label}) is too small: {target.size_bytes // MIB} MiB, "
            f"{needed} are needed"
        ) from None


def _do(
    step: Step,
    target: Target,
    parts: Sequence[Partition],
    files: Mapping[str, FileContent],
    device: str,
) -> None:
    name = install_plan.describe(step)
    report({"step": name, "text": name})
    match step:
        case Put(_, writes):
            for write in writes:
                target.write(write.offset_bytes, write.data)
                target.commit()
        case BootPartition():
            make_boot_partition(target, step, files, name)
        case NewState():
            # The kernel cannot read the table while one of its partitions is in use.
            for number, part in enumerate(parts[:-1], 1):
                target.add_partition(number, part.start_bytes, part.size_bytes)
            # Emptied: it may have been a half once, and something else in between. The kernel would
            # fill only what has changed since then.
            array.add(device, empty_partition(target, step.start_bytes, step.size_bytes))
        case KeptState():
            raise AssertionError("nothing is kept on this disk")


def _files(esp: str) -> Mapping[str, FileContent]:
    """What is on the boot partition that is mounted at *esp*, but for what is not ours.

    Raises:
        Internal: an image is damaged. OSError: it cannot be read.
    """
    root = Path(esp)
    found: dict[str, FileContent] = {}
    for folder in FOLDERS:
        for path in filter(Path.is_file, (root / folder).rglob("*")):
            if path.name.startswith(TEMPORARY_PREFIX):
                continue
            is_image = path.parent == root / IMAGES and path.suffix == ".efi"
            if is_image and not staging.digest_of(path).startswith(path.stem):
                raise Internal(f"{path.name} is damaged", hint="orlop os verify")
            found[str(path.relative_to(root))] = Piece(path, 0, path.stat().st_size)
    return found
