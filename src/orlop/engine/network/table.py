"""The engine's nftables table in the kernel: written whole by `nft`, changed by elements, and
looked after by `table_guard`."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from orlop.engine.network.rules import plan_table
from orlop.engine.network.table_guard import Guard
from orlop.lib.errors import Internal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from orlop.engine.network.rules import Row
    from orlop.engine.tasks import TaskSet
    from orlop.lib.children import Children

log = logging.getLogger(__name__)


class Table:
    """*rows* tells what belongs into it now; *written* is done after it was written whole."""

    def __init__(
        self,
        name: str,
        nft: Path,
        children: Children,
        tasks: TaskSet,
        rows: Callable[[], list[Row]],
        written: Callable[[], Awaitable[None]],
    ) -> None:
        self._name = name
        self._rows = rows
        self._written = written
        self.closed_router = False
        self._writing = asyncio.Lock()
        self.guard = Guard(name, self.write, tasks, children, nft)

    async def write(self) -> None:
        """Write the whole table.

        Raises:
            OrlopError: nft is missing or refused; the old table is as it was.
        """
        async with self._writing:
            text = plan_table(self._name, self._rows(), closed_router=self.closed_router)
            if said := await self.guard.put(text):
                raise Internal(f"cannot write the nftables table {self._name}: {said}")
        await self._written()

    async def change(
        self,
        apply: Callable[[Sequence[Row], Sequence[Row]], Awaitable[None]],
        *,
        add: Sequence[Row] = (),
        delete: Sequence[Row] = (),
    ) -> None:
        """Have *apply* add and delete rows, not while the whole table is being written.

        `rows` must give the new state already: should the table be damaged at this moment, it is
        written whole, with that.

        Raises:
            OrlopError: it could not be done in either way.
        """
        if not add and not delete:
            return
        async with self._writing:
            try:
                await apply(add, delete)
                return
            except OSError as error:
                log.warning("cannot change the nftables table %s: %s", self._name, error)
        await self.write()
