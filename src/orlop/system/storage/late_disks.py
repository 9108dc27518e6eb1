"""Looks for a disk that may come late: a stick with a key is slower than the boot."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError
from orlop.system import early
from orlop.system.storage import block_devices

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orlop.lib.children import Children

PLUG_AGAIN_S = 1.0
PLUG_TIMEOUT_S = 30.0


async def patiently[T](look: Callable[[], Awaitable[T]], children: Children, wait_s: float) -> T:
    """What *look* finds; for *wait_s* seconds it is called again, when a disk appears.

    Loads drivers meanwhile: before there is a devices service, nobody else does.

    Raises:
        OrlopError: what *look* raised the last time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    with block_devices.announcements() as announced:
        while True:
            try:
                return await look()
            except OrlopError:
                if loop.time() >= deadline:
                    raise
            try:
                async with asyncio.timeout(PLUG_AGAIN_S):
                    await announced.wait_block_device()
            except TimeoutError:
                with suppress(OrlopError):
                    await children.run(early.COLD_PLUG, timeout_s=PLUG_TIMEOUT_S)
