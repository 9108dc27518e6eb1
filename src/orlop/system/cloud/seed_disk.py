"""Recognises the disk on which a cloud or a hypervisor leaves a machine its configuration.

By its label, as everybody does: `cidata` for NoCloud, `config-2` for OpenStack's config drive. Only
fixed offsets are looked at: what is on a disk may be hostile, and PID 1 reads it.
Sources: ECMA-119 8.4; ECMA-167 2/9; Microsoft's FAT specification.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial

from orlop.lib.blocking import run_bounded
from orlop.system.storage import block_devices
from orlop.system.storage.superblock import HEAD_BYTES, identify

SEED_LABELS = {"cidata": "nocloud", "config-2": "configdrive"}
"""Labels in lower case, and the data source that each means."""

AZURE = "azure"
"""Azure's disk has no label to go by: any UDF disk may be it, on a machine that is there."""

_ISO_OFFSET, _ISO_MAGIC = 16 * 2048, b"\x01CD001\x01"
_BLOCK_BYTES = 2048
_UDF_MAGIC = b"NSR0"
_FAT_PLACES = ((b"FAT32   ", 82, 71), (b"FAT16   ", 54, 43), (b"FAT12   ", 54, 43))
"""Where FAT writes what it is, and its label."""


PROBE_TIMEOUT_S = 5.0

type Seed = tuple[str, str, str]
"""A seed: the source that its label means, the type of its file system, and the device."""


async def find_seeds() -> list[Seed]:
    """All seed disks that are there, in a stable order."""

    async def one(name: str) -> Seed | None:
        device = f"/dev/{name.replace('!', '/')}"
        try:
            return await run_bounded(partial(read_seed, device), PROBE_TIMEOUT_S)
        except TimeoutError:
            return None

    names = block_devices.candidates(optical=True)
    return [seed for seed in await asyncio.gather(*map(one, names)) if seed is not None]


def read_seed(device: str) -> Seed | None:
    """The seed that *device* holds, if it is one. May block."""
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        return recognise(device, os.pread(descriptor, HEAD_BYTES, 0))
    except OSError:
        return None
    finally:
        os.close(descriptor)


def recognise(device: str, head: bytes) -> Seed | None:
    """The seed whose first `HEAD_BYTES` are *head*; pure."""
    for fstype, label in labels(head):
        source = SEED_LABELS.get(label.strip().lower())
        if source is not None:
            return source, fstype, device
    blocks = range(_ISO_OFFSET, HEAD_BYTES, _BLOCK_BYTES)
    if any(head[block + 1 : block + 5] == _UDF_MAGIC for block in blocks):
        return AZURE, "udf", device
    return None


def labels(head: bytes) -> list[tuple[str, str]]:
    """Type and label of the file system whose first `HEAD_BYTES` are *head*; pure."""
    block = head[_ISO_OFFSET : _ISO_OFFSET + 72]
    if block.startswith(_ISO_MAGIC):
        return [("iso9660", _text(block[40:72]))]
    if head[510:512] == b"\x55\xaa":
        for name, at, label in _FAT_PLACES:
            if head[at : at + 8] == name:
                return [("vfat", _text(head[label : label + 11])), *_fat_entries(head)]
    superblock = identify(head)
    return [] if superblock is None else [(superblock.fstype, superblock.label)]


def _fat_entries(head: bytes) -> list[tuple[str, str]]:
    """Labels in the root directory, where some programs write them only.

    On a disk as small as a seed it begins within *head*; an entry is found by what it must be.
    """
    found = []
    for label in SEED_LABELS:
        entry = label.upper().encode().ljust(11) + b"\x08"
        place = head.find(entry)
        if place >= 0 and place % 32 == 0:
            found.append(("vfat", label))
    return found


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("ascii", "replace").strip()
