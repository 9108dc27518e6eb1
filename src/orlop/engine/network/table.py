"""The engine's nftables table in the kernel: written whole by `nft`, changed by elements.

Somebody's `nft flush ruleset`, or a change of our table by anybody else, is noticed through the
kernel's notifications, and the table written anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING

from orlop.engine.network.rules import plan_table
from orlop.lib import netlink_message as message
from orlop.lib.errors import Internal, InvalidArgument, OrlopError
from orlop.wire.netlink import nftables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from orlop.engine.network.rules import Row
    from orlop.engine.tasks import TaskSet
    from orlop.lib.children import Children

log = logging.getLogger(__name__)

_NETLINK_NETFILTER = 12
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_BUFFER_BYTES = 1 << 20
_RECEIVE_BYTES = 1 << 16
MESSAGES_PER_TURN = 32

SETTLE_S = 0.05
"""Who replaces a ruleset flushes it first: what follows belongs to the same change."""

REPEAT_S = 1.0
"""Between two repairs, should two programs undo each other's work."""

_UNDOING = frozenset(
    {
        nftables.DELETE_TABLE,
        nftables.DELETE_CHAIN,
        nftables.DELETE_RULE,
        nftables.DELETE_SET,
        nftables.DELETE_ELEMENT,
    }
)


class Watch:
    """Whether the table is as it was written, from what the kernel tells. No I/O."""

    def __init__(self, table: str, own_port: int) -> None:
        self._table = table
        self._own_port = own_port
        self.damaged = False

    def feed(self, data: bytes) -> None:
        """Take in a notification; one that is malformed counts as damage."""
        try:
            changes = [nftables.decode_change(answer) for answer in message.decode(data)]
        except InvalidArgument:
            self.damaged = True
            return
        for change in changes:
            if change is None or (change.family, change.table) != (
                nftables.FAMILY_INET,
                self._table,
            ):
                continue
            if change.type == nftables.NEW_TABLE:
                # Only we make it, and always whole.
                self.damaged = False
            elif change.type in _UNDOING and change.port != self._own_port:
                self.damaged = True


class Table:
    """Made after the kernel's sockets are; *rows* tells what belongs into the table now."""

    def __init__(
        self,
        name: str,
        nft: Path,
        children: Children,
        tasks: TaskSet,
        rows: Callable[[], list[Row]],
    ) -> None:
        self._name = name
        self._nft = nft
        self._children = children
        self._tasks = tasks
        self._rows = rows
        self.closed_router = False
        self._socket: socket.socket | None = None
        self._watch = Watch(name, 0)
        self._repair: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self.repairs = 0

    async def write(self) -> None:
        """Write the whole table.

        Raises:
            OrlopError: nft is missing or refused; the old table is as it was.
        """
        async with self._writing:
            text = plan_table(self._name, self._rows(), closed_router=self.closed_router)
            script = os.memfd_create("rules", os.MFD_CLOEXEC)
            try:
                os.write(script, text.encode())
                os.lseek(script, 0, os.SEEK_SET)
                argv = [os.fspath(self._nft), "-f", "-"]
                status, output = await self._children.run(argv, stdin_fd=script)
            finally:
                os.close(script)
            if not status.ok:
                said = output.decode(errors="replace").strip()[:2000]
                raise Internal(f"cannot write the nftables table {self._name}: {said}")

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

    def watch(self, own_port: int) -> None:
        """Begin to look after it; *own_port* is the netlink port from which elements are changed.

        Raises:
            OSError: the kernel does not tell.
        """
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        sock = socket.socket(socket.AF_NETLINK, kind, _NETLINK_NETFILTER)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            sock.bind((0, 0))
            sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, nftables.GROUP)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        self._watch = Watch(self._name, own_port)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable)

    def close(self) -> None:
        """Stop looking after it. The table stays: containers go on."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _readable(self) -> None:
        assert self._socket is not None
        for _ in range(MESSAGES_PER_TURN):
            try:
                self._watch.feed(self._socket.recv(_RECEIVE_BYTES))
            except BlockingIOError:
                break
            except OSError:
                # More happened than the buffer holds: who knows what.
                self._watch.damaged = True
                break
        if self._watch.damaged and (self._repair is None or self._repair.done()):
            self._repair = self._tasks.start(self._mend(), "nftables table")

    async def _mend(self) -> None:
        await asyncio.sleep(SETTLE_S)
        while self._watch.damaged:
            log.warning("the nftables table %s was changed by others, writing it anew", self._name)
            self._watch.damaged = False
            try:
                await self.write()
                self.repairs += 1
            except OrlopError as error:
                self._watch.damaged = True
                log.error("%s, trying again", error)
            await asyncio.sleep(REPEAT_S)
