"""Which of the machine's drives holds the medium that the running system came from."""

from __future__ import annotations

import contextlib
from functools import partial

from orlop.lib import iso9660, unified_image
from orlop.lib.errors import OrlopError
from orlop.lib.medium import IMAGE, LABEL, opened, within
from orlop.system.block_devices import candidates


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
