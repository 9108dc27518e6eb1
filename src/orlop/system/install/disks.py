"""The disks that the system could be installed on, what is on them, and which are refused, and why.

What is on a disk is anybody's: this runs in the installation's worker, never in PID 1. The decision
(`refusal`) is pure.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from orlop.lib import block_ioctl, disk_layout, partition_table
from orlop.lib.bios_loader import BOOT_CODE_BYTES
from orlop.lib.disk_ids import clean_id, disk_ids, disk_serial, entries, read_text
from orlop.lib.disk_layout import STATE_LABEL
from orlop.lib.disk_signatures import UNKNOWN, find_signatures
from orlop.lib.errors import Conflict, InvalidArgument, NotFound, OrlopError
from orlop.lib.mount import read_mounts
from orlop.system.storage import disk_references
from orlop.system.storage.block_devices import SYS_BLOCK, candidates, read_volume
from orlop.system.storage.superblock import HEAD_BYTES, LUKS, identify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.lib.disk_signatures import Read
    from orlop.system.storage.block_devices import Volume
    from orlop.system.storage.superblock import Superblock
    from orlop.wire.compose_model import Json

MARK = b"ORLOP INSTALLING"
"""In the first sector of a disk that is being installed: `partition_table.MARK_AT`."""

ONLY = "only"
PARTITIONS = ("orlop-bios", "orlop-esp", "orlop-state")
STATE_TYPES = ("ext4", "xfs", "btrfs")
STATE_TARGET = "/var"
"""Where the state of the running machine is mounted."""

FIRMWARE = "/sys/firmware/efi"
"""Is there on a machine that UEFI has started."""

UNREADABLE = "cannot be read"
_OWN = frozenset({UNKNOWN, "a GPT partition table"})
"""What our unfinished work looks like: the mark, and the table's second copy."""

_NO_DISKS = ("dm-", "md", "sr")
_SECTOR_BYTES = 512
_GUID, _GUID_AT = 16, 56


class Content(StrEnum):
    """What is on a disk, as far as it matters here."""

    EMPTY = "empty"
    UNFINISHED = "unfinished"
    """An installation of this system that did not come to its end. Of one that keeps a state it
    may be that UEFI starts it already, and a BIOS does not."""
    INSTALLED = "installed"
    """This system, whole."""
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk. *found* is what is on it and *busy* who uses it, both in words."""

    name: str
    device: str
    ids: tuple[str, ...]
    serial: str
    model: str
    size_bytes: int
    content: Content
    found: tuple[str, ...] = ()
    has_state: bool = False
    """Whether there is a state of this system's that an installation can keep."""
    is_locked: bool = False
    """Whether that is encrypted."""
    is_machine: bool = False
    """Whether a machine's state is on it, or may be, even if it cannot be used at the moment."""
    busy: str = ""
    is_running_system: bool = False
    """Whether it is in use only as the state of this machine, which an installation can keep."""
    problem: str = ""
    """Why nothing can be installed on it, whatever anybody wants."""
    sector_bytes: int = _SECTOR_BYTES
    guid: str = ""
    """Of its partition table, in hexadecimal digits."""
    waits_for: str = ""
    """Of an unfinished installation on two disks: the `guid` of the other, which is whole first."""

    @property
    def label(self) -> str:
        """What people are to type: the first of its ids, else its name."""
        return self.ids[0] if self.ids else self.name


def refusal(
    disk: Disk, *, wipe: bool, keep_state: bool, unattended: bool = False
) -> OrlopError | None:
    """Why *disk* may not be installed on, if that is so; pure.

    *unattended*: nobody has looked at the disk. A machine that is started from the network again
    and again, and does not find its state because that is locked or damaged, must not lose it.
    """
    what = f"{disk.device} ({disk.label})"
    if disk.problem:
        return Conflict(f"{what} {disk.problem}")
    if disk.busy and not (keep_state and disk.is_running_system):
        hint = "--keep-state, or start the machine with the kernel parameter orlop.state=none"
        return Conflict(
            f"{what} is in use: {disk.busy}", hint=hint if disk.is_running_system else None
        )
    if keep_state and wipe:
        return InvalidArgument(
            "either what is on the disk is kept or it is not: wipe or keep_state"
        )
    if keep_state and disk.content is Content.INSTALLED and not disk.has_state:
        # What is in half of it is not looked at by an installation.
        return Conflict(f"{what} has no state that can be kept: it may be half of a mirror")
    if keep_state:
        return None if disk.has_state else Conflict(f"{what} has no state of Orlop's to keep")
    if wipe and unattended and disk.is_machine:
        return Conflict(
            f"{what} has a machine's state on it, which this machine does not use: only a person "
            "may give that up",
            hint="orlop install --wipe",
        )
    if wipe or disk.content is Content.EMPTY:
        return None
    if disk.content is Content.UNFINISHED and not disk.has_state:
        return None
    found = ", ".join(disk.found) or "something"
    keep = "--keep-state keeps the state; " if disk.has_state else ""
    return Conflict(
        f"{what} is not empty, there is {found} on it: it is left as it is",
        hint=f"{keep}--wipe gives up what is on it",
    )


def to_json(disk: Disk) -> dict[str, Json]:
    """As `GET /orlop/install` gives it."""
    return {
        "name": disk.name,
        "device": disk.device,
        "id": disk.label,
        "ids": [*disk.ids],
        "serial": disk.serial,
        "model": disk.model,
        "size_bytes": disk.size_bytes,
        "content": disk.content.value,
        "found": [*disk.found],
        "has_state": disk.has_state,
        "is_locked": disk.is_locked,
        "busy": disk.busy,
        "is_running_system": disk.is_running_system,
        "problem": disk.problem,
        "sector_bytes": disk.sector_bytes,
        "guid": disk.guid,
        "waits_for": disk.waits_for,
    }


def choose(reference: str, disks: Sequence[Disk], sys_block: str = SYS_BLOCK) -> Disk | None:
    """The disk that *reference* means: one of its ids, `SERIAL=`, `ID=`, a path, or `only`.

    Raises:
        Conflict: several are meant. InvalidArgument: it is no name of a disk.
    """
    if reference == ONLY:
        # One that cannot be read now may be the one that is meant.
        usable = [d for d in disks if not d.problem or d.problem.startswith(UNREADABLE)]
        if len(usable) > 1:
            names = ", ".join(disk.label for disk in usable)
            raise Conflict(f"there is not only one disk: {names}")
        return usable[0] if usable else None
    found = [d for d in disks if reference in (d.name, *d.ids)]
    if not found:
        try:
            kind, value = disk_references.split(reference)
        except ValueError as error:
            if "/" in reference or "=" in reference:
                raise InvalidArgument(f"{reference}: {error}") from None
            return None
        device = os.path.realpath(reference) if kind == "DEVICE" else ""
        found = [
            disk
            for disk in disks
            if disk.device == device
            or disk_references.names_match(
                kind, value, disk_references.read_names(disk.device, sys_block)
            )
        ]
    if len(found) > 1:
        raise Conflict(f"several disks are {reference}: {', '.join(d.device for d in found)}")
    return found[0] if found else None


def choose_first(references: Sequence[str], disks: Sequence[Disk]) -> Disk:
    """The first of *references* that is there.

    Raises:
        NotFound: none of them is. Conflict, InvalidArgument: as `choose`.
    """
    for reference in references:
        disk = choose(reference, disks)
        if disk is not None:
            return disk
    there = ", ".join(disk.label for disk in disks) or "no disk at all"
    raise NotFound(f"no disk is {', '.join(references)}; there is {there}")


def read_all(medium: str = "", sys_block: str = SYS_BLOCK) -> list[Disk]:
    """The disks there are; *medium* is the device that the machine was started from, if known."""
    mounts = [(entry.source, os.fspath(entry.target)) for entry in read_mounts()]
    found = []
    for name in candidates(sys_block):
        directory = f"{sys_block}/{name}"
        if name.startswith(_NO_DISKS) or "boot" in name or read_text(directory, "partition"):
            continue
        if read_text(directory, "hidden") == "1":  # one of several ways to a disk of NVMe
            continue
        if read_text(directory, "size") not in ("", "0"):
            found.append(read_one(name, mounts, medium, sys_block))
    return [with_twins(disk, found) for disk in found]


def with_twins(disk: Disk, disks: Sequence[Disk]) -> Disk:
    """*disk*, in use if one of *disks* is that calls itself the same: it may be the same disk, to
    which there are two ways; pure."""
    for other in disks:
        is_twin = other.name != disk.name and other.ids and other.ids == disk.ids
        if is_twin and other.busy and not disk.busy:
            text = f"{other.device} has the same id, and {other.busy}"
            return replace(disk, busy=text, is_running_system=False)
    return disk


def has_changed(disk: Disk, medium: str = "", sys_block: str = SYS_BLOCK) -> bool:
    """Whether what has the name of *disk* now, or what is on it, is something else.

    Who has it does not count: whoever asks has it.
    """
    now = read_one(disk.name, (), medium, sys_block)
    return replace(now, busy=disk.busy, is_running_system=disk.is_running_system) != disk


def read_one(
    name: str, mounts: Sequence[tuple[str, str]], medium: str, sys_block: str = SYS_BLOCK
) -> Disk:
    """The disk *name*; one that cannot be read has a problem."""
    directory = f"{sys_block}/{name}"
    device = f"/dev/{name.replace('!', '/')}"
    parts = [other for other in candidates(sys_block) if os.path.isdir(f"{directory}/{other}")]
    size = int(read_text(directory, "size") or 0) * _SECTOR_BYTES
    try:
        content, found, fstype = look(device)
        problem = ""
        if (volume := read_volume(device)) is not None:
            found = [f"{device}: {_volume(volume)}"]
    except OSError as error:
        content, found, fstype = Content.FOREIGN, [], ""
        problem = f"{UNREADABLE}: {error.strerror}"
    if medium in (device, *(f"/dev/{part}" for part in parts)):
        problem = "is what this machine was started from"
    elif read_text(directory, "ro") == "1":
        problem = "can only be read"
    sector = int(read_text(f"{directory}/queue", "logical_block_size") or _SECTOR_BYTES)
    problem = problem or _too_small(size, sector) or _never_starts(sector)
    busy = _users_of(name, device, parts, mounts, directory)
    state = f"/dev/{parts[-1].replace('!', '/')}" if len(parts) == len(PARTITIONS) else ""
    labels = {_label_of(device), *(_label_of(f"/dev/{p.replace('!', '/')}") for p in parts)}
    foreign = content is Content.FOREIGN and STATE_LABEL in labels
    has_state, inner = bool(fstype), _opened(f"{directory}/{parts[-1]}") if state else ""
    return Disk(
        name,
        device,
        tuple(dict.fromkeys(map(clean_id, disk_ids(directory)))),
        disk_serial(directory),
        _model(directory),
        size,
        content,
        (*found, *(text for part in parts if (text := _partition(directory, part)))),
        has_state,
        fstype == LUKS,
        has_state or foreign or content is Content.INSTALLED,
        next(iter(busy.values()), ""),
        has_state and set(busy) == {state} and (inner or state, STATE_TARGET) in mounts,
        problem,
        sector,
        *_guids(device, sector),
    )


def look(device: str) -> tuple[Content, list[str], str]:
    """What is on *device*, in words, and the file system of a state of ours that is there, or "".

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = block_ioctl.size_bytes(descriptor)
        sector = block_ioctl.sector_bytes(descriptor)

        def read(offset: int, length: int) -> bytes:
            return os.pread(descriptor, length, offset)

        found = find_signatures(read, size)
        if read(partition_table.MARK_AT, len(MARK)) == MARK and not {*found} - _OWN:
            return Content.UNFINISHED, ["an unfinished installation of Orlop"], ""
        places = own_partitions(read, sector)
        if places is None:
            return (Content.FOREIGN if found else Content.EMPTY), found, ""
        start = places[PARTITIONS[1]][0]
        state = _state_type(identify(read(places[PARTITIONS[2]][0], HEAD_BYTES)))
        starts = sector != _SECTOR_BYTES or any(read(0, BOOT_CODE_BYTES))
        if read(start + 510, 2) == b"\x55\xaa" and (starts or not state):
            return Content.INSTALLED, ["an installation of Orlop"], state
        if not state:  # nothing to go on with
            return Content.FOREIGN, ["partitions of Orlop"], ""
        return Content.UNFINISHED, ["an unfinished installation of Orlop"], state
    finally:
        os.close(descriptor)


def _guids(device: str, sector: int) -> tuple[str, str]:
    """`Disk.guid` and `Disk.waits_for` of what is on *device*."""
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return "", ""
    try:
        noted = os.pread(descriptor, len(MARK) + _GUID, partition_table.MARK_AT)
        head = os.pread(descriptor, 512, sector)
    except OSError:
        return "", ""
    finally:
        os.close(descriptor)
    if noted.startswith(MARK):
        other = noted[len(MARK) :]
        return "", other.hex() if any(other) else ""
    is_table = head.startswith(partition_table.GPT_MAGIC)
    return head[_GUID_AT:][:_GUID].hex() if is_table else "", ""


def _state_type(volume: Superblock | None) -> str:
    if volume is None:
        return ""
    is_ours = volume.fstype in STATE_TYPES or (
        volume.fstype == LUKS and volume.label == STATE_LABEL
    )
    return volume.fstype if is_ours else ""


def own_partitions(read: Read, sector: int) -> dict[str, tuple[int, int]] | None:
    """Where the three partitions are that an installation has made: start and size in bytes."""
    header = read(sector, sector)
    try:
        place = partition_table.table_place(header, sector)
        if place is None:
            return None
        table = partition_table.parse_gpt(header, read(*place), sector)
    except InvalidArgument:
        return None
    found = {}
    each = table.header.entry_bytes
    for at in range(0, min(len(PARTITIONS) * each, len(table.entries)), each):
        entry = table.entries[at : at + each]
        # UTF-16, of which only ASCII is looked for: its codec is not in the image.
        name = entry[56:128:2].split(b"\0", 1)[0].decode("ascii", "replace")
        first, last = (int.from_bytes(entry[n : n + 8], "little") for n in (32, 40))
        if any(entry[:_GUID]) and first <= last < partition_table.MAX_SECTORS:
            found[name] = (first * sector, (last - first + 1) * sector)
    return found if found.keys() == {*PARTITIONS} else None


def _partition(directory: str, part: str) -> str:
    """A partition in words: its device, what it is called and what is on it."""
    size = int(read_text(f"{directory}/{part}", "size") or 0) * _SECTOR_BYTES
    if size < 4096:
        return ""  # the place holder of an extended partition
    device = f"/dev/{part.replace('!', '/')}"
    volume = read_volume(device)
    known = ", ".join(_signatures(device)) if volume is None else _volume(volume)
    return f"{device}, {_size(size)}: {known or 'nothing known'}"


def _label_of(device: str) -> str:
    volume = read_volume(device)
    return volume.superblock.label if volume else ""


def _volume(volume: Volume) -> str:
    label = volume.superblock.label
    return f"{volume.superblock.fstype}{f' {label!r}' if label else ''}"


def _signatures(device: str) -> list[str]:
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        size = block_ioctl.size_bytes(descriptor)
        return find_signatures(lambda at, length: os.pread(descriptor, length, at), size)
    except OSError:
        return []
    finally:
        os.close(descriptor)


def _size(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB" if size_bytes < 10 << 30 else f"{size_bytes >> 30} GiB"


def _model(directory: str) -> str:
    device = f"{directory}/device"
    vendor = read_text(device, "vendor")
    words = [vendor if not vendor.startswith("0x") else "", read_text(device, "model")]
    return " ".join(filter(None, words)) or read_text(device, "name")


def _users_of(
    name: str,
    device: str,
    parts: Sequence[str],
    mounts: Sequence[tuple[str, str]],
    directory: str,
) -> dict[str, str]:
    """Who has the disk, or parts of it: by device, in words."""
    found = {}
    for part in (name, *parts):
        own = f"/dev/{part.replace('!', '/')}"
        places = [target for source, target in mounts if source == own]
        holders = entries(f"{directory}/holders" if part == name else f"{directory}/{part}/holders")
        if places:
            found[own] = f"{own} is mounted at {places[0]}"
        elif holders:
            found[own] = f"{own} is part of {', '.join(holders)}"
        elif any(line.split()[:1] == [own] for line in _swaps()):
            found[own] = f"{own} is swapped to"
    if not found:
        try:
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            if error.errno == errno.EBUSY:
                found[device] = "something has it open for itself"
    return found


def _opened(directory: str) -> str:
    """The device of what is open in the encrypted partition *directory*, as it is mounted."""
    for holder in entries(f"{directory}/holders"):
        if name := read_text(f"{directory}/holders/{holder}/dm", "name"):
            return f"/dev/mapper/{name}"
    return ""


def _too_small(size_bytes: int, sector: int) -> str:
    try:
        disk_layout.plan_disk(size_bytes, sector)
    except InvalidArgument as error:
        return f"cannot be used: {error}"
    return ""


def _never_starts(sector: int) -> str:
    if sector == _SECTOR_BYTES or os.path.isdir(FIRMWARE):
        return ""
    return (
        f"cannot be used: its sectors have {sector} bytes, of which only UEFI starts a system, and "
        "this machine was started by a BIOS"
    )


def _swaps() -> list[str]:
    try:
        with open("/proc/swaps", encoding="utf-8", errors="replace") as stream:
            return stream.read().splitlines()[1:]
    except OSError:
        return []
