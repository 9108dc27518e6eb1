"""Waiting until the machine has its network: for services that ask for it, and within a limit.

The network service writes a file when each interface that is not optional has an address.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from orlop.system.network import hostname

if TYPE_CHECKING:
    from orlop.system.config.configuration import Configuration

log = logging.getLogger(__name__)

FILE = "online"
DEFAULT_LIMIT_S = 20


def limit_s(configuration: Configuration) -> int:
    """How long a service waits at most, in seconds."""
    value = configuration.get("orlop.network.wait_online")
    return value if isinstance(value, int) else DEFAULT_LIMIT_S


async def wait(limit_s: float, directory: str = hostname.DIRECTORY) -> bool:
    """Wait until the machine is online, *limit_s* seconds at most; whether it is."""
    path = f"{directory}/{FILE}"
    try:
        async with asyncio.timeout(limit_s):
            async for _ in hostname.changes(directory, FILE, at_once=True):
                if os.path.exists(path):
                    return True
    except TimeoutError:
        pass
    if os.path.exists(path):
        return True
    log.warning("there is no network after %d s: what waited for it goes on without", limit_s)
    return False
