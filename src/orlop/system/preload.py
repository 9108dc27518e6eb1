"""Images for services from archives that somebody has put there, for machines without a network.

Those for the user's containers are a directory higher, and the user's engine's affair.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

DIRECTORY = Path("/var/lib/orlop/preload/system")


async def bring_images(engine: Engine) -> None:
    """Bring them to the system's *engine*; bounded in time, see `engine.preload`."""
    if DIRECTORY.is_dir():
        from orlop.engine.preload import Preload  # here: most machines have no use for it

        await Preload(engine, DIRECTORY).begin(asyncio.Event())
