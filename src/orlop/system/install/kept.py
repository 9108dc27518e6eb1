"""What the boot partition of a disk says on which an Orlop is installed, before it is made anew."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orlop.lib import boot_files, environment_block, fat_reader
from orlop.lib.boot_files import APPEND
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.lib.iso9660 import Extent
from orlop.lib.medium import within
from orlop.system.install import disks

if TYPE_CHECKING:
    from orlop.system.install.target import Target

KEY_WORD = "orlop.state.key="


def has_image(target: Target, identity: str) -> bool:
    """Whether it has this very image: a machine that is started from the network each time would
    be installed each time."""
    return bool(_read(target, f"{boot_files.IMAGES}/{identity}.sum"))


def read_parameters(target: Target) -> str:
    """The kernel parameters that it adds to those of its images; empty if it is not whole."""
    found = environment_block.parse(_read(target, f"{boot_files.FOLDER}/{APPEND}")) or {}
    words = found.get("append", "")
    return words if words.isprintable() else ""


def join_parameters(asked: str, key_file: str, before: str) -> str:
    """The parameters to add: those that are *asked* for, else those of *before*; pure.

    Where the state's key is stays as it was unless *key_file* says something else.
    """
    old = before.split()
    keys = [word for word in old if word.startswith(KEY_WORD)][-1:]
    words = asked.split() or [word for word in old if not word.startswith(KEY_WORD)]
    return " ".join([*words, *([f"{KEY_WORD}{key_file}"] if key_file else keys)])


def _read(target: Target, name: str) -> bytes:
    places = disks.own_partitions(target.read, target.sector_bytes) or {}
    esp = Extent(*places.get(disks.PARTITIONS[1], (0, 0)))
    try:
        return fat_reader.read_file(partial(within, target.read, esp), name)
    except (NotFound, InvalidArgument):
        return b""
