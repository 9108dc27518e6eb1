"""The end of all containers, because the machine ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError

if TYPE_CHECKING:
    from orlop.engine.container.container import Container
    from orlop.engine.engine import Engine

log = logging.getLogger(__name__)


async def end_containers(engine: Engine) -> None:
    """End all containers of *engine*, each in its grace time; from now on none is started.

    Restart policies do not count this as a stop: the next start of a durable engine brings back
    what they want to run.
    """
    log.info("ending all containers")
    engine.host.ending = True
    async with asyncio.TaskGroup() as group:
        for container in engine.all():
            group.create_task(_end(container))
    with contextlib.suppress(OSError):
        await engine.host.records.flush()


async def _end(container: Container) -> None:
    try:
        await container.end()
    except OrlopError as error:
        log.warning("cannot end container %s: %s", container.name, error)
    except Exception:
        log.exception("a fault of Orlop's own keeps container %s from ending", container.name)
