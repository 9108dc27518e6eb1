"""`orlop.state.autoformat`: an empty disk, named by its serial number or id, becomes the state's.

Only a disk that is named by what it is, not by where it is plugged in, and on which there is
nothing at all, neither a signature nor a byte at its ends. What is refused is refused with what was
found. The first sector is written last: until then a mark in it says whose unfinished work the disk
has, so that a power cut in between is made good by the next boot.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib import block_ioctl, partition_table
from orlop.lib.block_ioctl import PartitionChange
from orlop.lib.blocking import run_bounded
from orlop.lib.disk_ids import read_text
from orlop.lib.disk_signatures import UNKNOWN, find_signatures
from orlop.lib.errors import Conflict, OrlopError
from orlop.system.storage import disk_references
from orlop.system.storage.block_devices import candidates
from orlop.system.storage.disk_references import SYS_BLOCK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.lib.children import Children

LABEL = "ORLOP_STATE"
MIN_BYTES = 64 << 20
PROBE_TIMEOUT_S = 30.0
MAKE_TIMEOUT_S = 600.0
EXTRAS_WAIT_S = 15.0

MARK = b"ORLOP UNFINISHED"
"""In the first sector: `partition_table.MARK_AT`."""

_OWN = frozenset({UNKNOWN, "a GPT partition table"})
"""What the mark, and the table beside it, look like."""

MAKERS = {
    "ext4": ("/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-m", "1"),
    "xfs": ("/run/orlop/extras/usr/sbin/mkfs.xfs", "-q", "-f"),
    "btrfs": ("/run/orlop/extras/usr/sbin/mkfs.btrfs", "-q", "-f"),
}
"""What makes a file system. One percent for root: PID 1 writes when nobody else can any more."""

MAX_LABEL_BYTES = {"ext4": 16, "xfs": 12, "btrfs": 255}


def disks(sys_block: str = SYS_BLOCK) -> list[str]:
    """The names of the whole disks there are."""
    return [n for n in candidates(sys_block) if not read_text(f"{sys_block}/{n}", "partition")]


def find_disk(reference: str, sys_block: str = SYS_BLOCK) -> str | None:
    """The name of the disk that *reference* (`SERIAL=` or `ID=`) means; None if it is not there.

    Raises:
        Conflict: several disks are called so.
    """
    kind, value = disk_references.split(reference)
    found = [
        name
        for name in disks(sys_block)
        if disk_references.names_match(
            kind, value, disk_references.read_names(f"/dev/{name}", sys_block)
        )
    ]
    if len(found) > 1:
        raise Conflict(f"several disks are {reference}: {', '.join(found)}")
    return found[0] if found else None


def refuse_unless_empty(name: str, device: str, sys_block: str = SYS_BLOCK) -> None:
    """Look at the disk; blocks.

    Raises:
        Conflict: it is not one to format, and why.
        OSError: it cannot be read.
    """
    directory = f"{sys_block}/{name}"
    if read_text(directory, "ro") == "1":
        raise Conflict(f"{device} can only be read")
    if _entries(f"{directory}/holders"):
        raise Conflict(f"{device} is in use")
    descriptor = os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
    try:
        size = block_ioctl.size_bytes(descriptor)
        if size < MIN_BYTES:
            raise Conflict(f"{device} is too small, {size >> 20} MiB")
        found = find_signatures(lambda at, length: os.pread(descriptor, length, at), size)
        if os.pread(descriptor, len(MARK), partition_table.MARK_AT) == MARK:
            # What others put beside it since is theirs: not all of them write to that sector.
            found = [what for what in found if what not in _OWN]
    finally:
        os.close(descriptor)
    if found:
        raise Conflict(
            f"{device} is not empty, there is {', '.join(found)} on it: it is left as it is",
            hint=f"to give up what is on it: blkdiscard -z {device}",
        )


def _entries(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def mark(device: str) -> partition_table.Layout:
    """Say on the disk that it is being formatted, and let the kernel have its partition; blocks.

    Raises:
        OSError: the disk or the kernel refuses.
    """
    descriptor = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
    try:
        size, sector = block_ioctl.size_bytes(descriptor), block_ioctl.sector_bytes(descriptor)
        layout = partition_table.make_gpt(LABEL, size, sector, os.urandom(32))
        os.pwrite(descriptor, partition_table.marked_sector(MARK, sector).data, 0)
        os.fsync(descriptor)
        block_ioctl.change_partition(
            descriptor, PartitionChange.ADD, 1, layout.start_bytes, layout.size_bytes
        )
        return layout
    finally:
        os.close(descriptor)


def finish(device: str, layout: partition_table.Layout) -> None:
    """Write the partition table, the first sector last; blocks.

    Raises:
        OSError: the disk refuses.
    """
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        for write in layout.writes:
            os.fsync(descriptor)
            os.pwrite(descriptor, write.data, write.offset_bytes)
        os.fsync(descriptor)
        block_ioctl.read_partitions_again(descriptor)
    finally:
        os.close(descriptor)


def partition_of(device: str) -> str:
    """The device of the first partition on the disk *device*."""
    return f"{device}p1" if device[-1].isdigit() else f"{device}1"


def label_for(wanted: str, name: str, fstype: str, sys_block: str = SYS_BLOCK) -> str:
    """The label with which *wanted* (`orlop.state`) means what is made on the disk *name*.

    Raises:
        Conflict: there is none: the next boot would not find it, and go on without a state.
    """
    kind, value = disk_references.split(wanted)
    device = f"/dev/{name.replace('!', '/')}"
    names = disk_references.read_names(device, sys_block)
    names = replace(names, partition=1, part_label=LABEL)
    if kind == "LABEL" and len(value.encode()) <= MAX_LABEL_BYTES[fstype]:
        return value
    if disk_references.names_match(kind, value, names) or (kind, value) == (
        "DEVICE",
        partition_of(device),
    ):
        return LABEL
    raise Conflict(f"{device} is left as it is: what would be made on it is not {wanted}")


async def _programs(fstype: str, children: Children) -> Mapping[str, str]:
    """The environment in which what makes *fstype* runs.

    Raises:
        Conflict: it is not here.
    """
    from orlop.system.storage import extras, late_disks

    try:
        await late_disks.patiently(extras.ensure, children, EXTRAS_WAIT_S)
    except OrlopError as error:
        raise Conflict(f"what makes {fstype} is not here: {error}") from error
    return extras.ENVIRONMENT


async def format_disk(
    name: str, fstype: str, children: Children, wanted: str = f"LABEL={LABEL}"
) -> str:
    """Make the disk *name* the state's, which *wanted* means; the device of the partition.

    Raises:
        Conflict: there is something on it, or it is in use.
        OrlopError: it cannot be done.
    """
    device = f"/dev/{name.replace('!', '/')}"
    maker = MAKERS[fstype]
    env = None if fstype == "ext4" else await _programs(fstype, children)
    try:
        label = await run_bounded(partial(label_for, wanted, name, fstype), PROBE_TIMEOUT_S)
        await run_bounded(partial(refuse_unless_empty, name, device), PROBE_TIMEOUT_S)
        layout = await run_bounded(partial(mark, device), PROBE_TIMEOUT_S)
        part = partition_of(device)
        command = [*maker, "-L", label, part]
        status, output = await children.run(command, env=env, timeout_s=MAKE_TIMEOUT_S)
        if not status.ok:
            lines = output.decode(errors="replace").strip().splitlines()[-1:]
            raise OrlopError(f"{os.path.basename(maker[0])} failed on {part}: {' '.join(lines)}")
        await run_bounded(partial(finish, device, layout), PROBE_TIMEOUT_S)
    except TimeoutError:
        raise OrlopError(f"{device} does not answer") from None
    except OSError as error:
        raise OrlopError(f"{device} cannot be formatted: {error.strerror}") from error
    return part


async def format_first(
    references: Sequence[str], fstype: str, children: Children, wanted: str
) -> tuple[str | None, list[str]]:
    """Format the first of the disks *references* that is there and may be, to be *wanted*.

    Returns the partition's device, or None; and what was refused, in words. Without either, no such
    disk has appeared yet.
    """
    refused: list[str] = []
    for reference in references:
        try:
            name = await run_bounded(partial(find_disk, reference), PROBE_TIMEOUT_S)
            if name is not None:
                return await format_disk(name, fstype, children, wanted), refused
        except TimeoutError:
            refused.append(f"orlop.state.autoformat={reference}: the disks do not answer")
        except OrlopError as error:
            hint = f" ({error.hint})" if error.hint else ""
            refused.append(f"orlop.state.autoformat={reference}: {error}{hint}")
    return None, refused
