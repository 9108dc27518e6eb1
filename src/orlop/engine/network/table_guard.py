"""Looks after a table of nftables: what others do to it is noticed, and it is written anew.

Somebody's `nft flush ruleset`, or a change of the table by anybody else, is told by the kernel's
notifications.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.wire.netlink import nftables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orlop.engine.tasks import TaskSet

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


class Guard:
    """Of the table *name*, which *write* makes whole again; for good, or until `close`."""

    def __init__(self, name: str, write: Callable[[], Awaitable[None]], tasks: TaskSet) -> None:
        self._name = name
        self._write = write
        self._tasks = tasks
        self._socket: socket.socket | None = None
        self._watch = Watch(name, 0)
        self._repair: asyncio.Task[None] | None = None
        self.repairs = 0

    def watch(self, own_port: int) -> None:
        """Begin to look after it, if that has not begun; *own_port* is the netlink port from which
        elements are changed.

        Raises:
            OSError: the kernel does not tell.
        """
        if self._socket is not None:
            return
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
        """Stop looking after it. The table stays."""
        self._watch.damaged = False
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
                await self._write()
                self.repairs += 1
            except OrlopError as error:
                self._watch.damaged = True
                log.error("%s, trying again", error)
            await asyncio.sleep(REPEAT_S)
