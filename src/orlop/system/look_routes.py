"""The routes that look at the machine from PID 1's place, because nobody else may see as much.

What they need is imported when somebody asks; what may wait for a disk or for thousands of
processes is done in a thread, and given up after a time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from orlop.engine.api.router import Route
from orlop.lib.blocking import run_bounded
from orlop.lib.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop.engine.api.exchange import Exchange
    from orlop.system.boot import Boot

LIMIT_S = 20.0


def make_routes(boot: Boot) -> Sequence[Route]:
    """The routes for the machine that *boot* runs."""

    async def disks(exchange: Exchange) -> None:
        from orlop.system.disks import persistence, read_disks

        state = boot.machine.state
        found = await _look(partial(read_disks, state))
        await exchange.respond_json(200, {"disks": found, "persistence": persistence(state)})

    async def listeners(exchange: Exchange) -> None:
        from orlop.system.listeners import read_listeners

        await exchange.respond_json(200, {"listeners": await _look(read_listeners)})

    return (
        Route("GET", "/orlop/disks", disks),
        Route("GET", "/orlop/listeners", listeners),
    )


async def _look[T](function: Callable[[], T]) -> T:
    try:
        return await run_bounded(function, LIMIT_S)
    except TimeoutError:
        raise Unavailable(f"no answer within {LIMIT_S:.0f} s: a device or a disk hangs") from None
