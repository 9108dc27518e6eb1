"""The end of all services when the machine goes down: each after those that depend on it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from orlop.lib.errors import NotFound, NotModified, OrlopError
from orlop.system.services.ordering import stop_waits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.system.services.state import ContainerEngine
    from orlop.wire.compose_model import ServiceDefinition

log = logging.getLogger(__name__)


async def end_in_order(
    engine: ContainerEngine, definitions: Mapping[str, ServiceDefinition], force: asyncio.Event
) -> None:
    """Stop every service, in parallel where possible; ends early when *force* is set."""
    waits = stop_waits(definitions)
    stopped = {name: asyncio.Event() for name in definitions}

    async def stop_one(name: str) -> None:
        try:
            await asyncio.gather(*(stopped[other].wait() for other in waits[name]))
            await engine.stop_container(name)
        except (NotFound, NotModified):
            pass
        except OrlopError as error:
            log.warning("cannot stop service %s: %s", name, error)
        finally:
            stopped[name].set()

    everything = asyncio.gather(*map(stop_one, definitions), return_exceptions=True)
    forced = asyncio.ensure_future(force.wait())
    await asyncio.wait((everything, forced), return_when=asyncio.FIRST_COMPLETED)
    for future in (everything, forced):
        future.cancel()
