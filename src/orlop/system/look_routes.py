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
    from orlop.system.board_facts import Board
    from orlop.system.boot import Boot

LIMIT_S = 20.0
MAX_LOOKS = 8
"""At once: each that hangs keeps its thread."""
COLUMNS, ROWS = 80, 24


def make_routes(boot: Boot) -> Sequence[Route]:
    """The routes for the machine that *boot* runs."""

    looking: set[object] = set()

    async def disks(exchange: Exchange) -> None:
        from orlop.system.storage.disks import persistence, read_disks

        state = boot.machine.state
        found = await look(looking, partial(read_disks, state))
        await exchange.respond_json(200, {"disks": found, "persistence": persistence(state)})

    async def seal(exchange: Exchange) -> None:
        from orlop.system.storage import sealing

        request = sealing.parse_request(await exchange.json())
        state = boot.machine.state
        found = await sealing.change(boot.children, request, state.device if state else "")
        await exchange.respond_json(200, found)

    async def listeners(exchange: Exchange) -> None:
        from orlop.system.network.listeners import read_listeners

        await exchange.respond_json(200, {"listeners": await look(looking, read_listeners)})

    boards: list[Board] = []  # one, once somebody has asked for it

    async def board(exchange: Exchange) -> None:
        from orlop.system import board_facts
        from orlop.system.board import screen

        terminal = exchange.text("terminal")
        if terminal and terminal not in board_facts.terminals(boot.config.current):
            await exchange.respond_empty(204)
            return
        if not boards:
            boards.append(board_facts.Board(boot.machine, boot.services))
        facts = await boards[0].facts()
        size = exchange.integer("columns") or COLUMNS, exchange.integer("rows") or ROWS
        await exchange.respond_bytes(200, screen(facts, *size), "text/plain; charset=us-ascii")

    return (
        Route("GET", "/orlop/board", board),
        Route("GET", "/orlop/disks", disks),
        Route("POST", "/orlop/disks/seal", seal),
        Route("GET", "/orlop/listeners", listeners),
    )


async def look[T](looking: set[object], function: Callable[[], T]) -> T:
    """What *function* finds. *looking* has those that are at it, also without anybody who waits.

    Raises:
        Unavailable: it takes too long, or too many do already.
    """
    if len(looking) >= MAX_LOOKS:
        raise Unavailable(f"{MAX_LOOKS} have no answer yet: a device or a disk hangs")
    looking.add(token := object())

    def work() -> T:
        try:
            return function()
        finally:
            looking.discard(token)

    try:
        return await run_bounded(work, LIMIT_S)
    except TimeoutError:
        raise Unavailable(f"no answer within {LIMIT_S:.0f} s: a device or a disk hangs") from None
