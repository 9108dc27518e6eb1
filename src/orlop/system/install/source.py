"""What is installed from: the drive with the medium of the running system, and extras beside it."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import boot_files, iso9660, unified_image
from orlop.lib.errors import OrlopError
from orlop.lib.fat32 import Piece
from orlop.lib.iso9660 import Extent
from orlop.lib.medium import IMAGE, LABEL, hash_of, opened, within
from orlop.lib.mount import read_mounts
from orlop.system.storage import extras_media
from orlop.system.storage.block_devices import candidates
from orlop.system.storage.extras import MOUNT_POINT
from orlop.system.storage.superblock import HEAD_BYTES, identify

if TYPE_CHECKING:
    from orlop.lib.medium import Source


def find_medium(build: str) -> str:
    """The device of the medium with the system whose build is *build*; empty without one."""
    for name in candidates(optical=True):
        device = f"/dev/{name.replace('!', '/')}"
        with contextlib.suppress(OSError, OrlopError), opened(device) as read:
            if iso9660.read_label(read) != LABEL:
                continue
            place = iso9660.find(read, IMAGE)
            if unified_image.describe(partial(within, read, place)).build == build:
                return device
    return ""


def find_extras(source: Source, build: str) -> dict[str, Piece]:
    """`orlop-extras.erofs` beside the file *source*, or what the running *build* uses if that is
    what is installed; under the name by which the installed system finds it. Empty without any
    that the image to be installed would take."""
    places = [f"{os.path.dirname(source.path)}/{extras_media.NAME}"]
    if source.build == build:
        places += [f"{extras_media.MEMORY}/{extras_media.NAME}", extras_media.ON_STATE]
        places += [e.source for e in read_mounts() if os.fspath(e.target) == MOUNT_POINT]
    for path in filter(os.path.exists, places):
        with contextlib.suppress(OSError, OrlopError), opened(path) as read:
            found = identify(read(0, HEAD_BYTES))
            if found is None or (found.fstype, found.label) != ("erofs", extras_media.LABEL):
                continue
            # A disk that the file was written to is larger than it.
            size = os.stat(path).st_size or extras_media.Reader().size_bytes
            digest = hash_of(read, Extent(0, size))
            if source.extras not in ("", digest):
                continue
            name = f"{boot_files.FOLDER}/extras-{digest[: extras_media.ID_DIGITS]}.erofs"
            return {name: Piece(Path(path), 0, size)}
    return {}
