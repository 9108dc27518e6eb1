"""Looks after a table of nftables: what others do to it is noticed, and it is written anew.

Somebody's `nft flush ruleset`, a ruleset that was saved and is loaded again, or any other change
of the table is told by the kernel's notifications. Whose it was, they tell by netlink port: of the
`nft` that is started here, libmnl leaves the port to the kernel, which takes the process id. Should
that be somebody's already, our own table counts as another's, and is written once more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.wire.netlink import nftables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from orlop.engine.tasks import TaskSet
    from orlop.lib.children import Children

log = logging.getLogger(__name__)

_NETLINK_NETFILTER = 12
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 4 << 20
"""Whatever the host's limit is (`rmem_max`): all elements of a table that is written whole are told
at once, 200 bytes each, and to lose any would mean to write it once more. The kernel doubles it."""

_RECEIVE_BYTES = 1 << 16
MESSAGES_PER_TURN = 32
NFT_TIMEOUT_S = 30.0
MAX_SAID_CHARACTERS = 2000

SETTLE_S = 0.05
"""Who replaces a ruleset flushes it first: what follows belongs to the same change."""

REPEAT_S = 1.0
"""Between two repairs, should two programs undo each other's work."""


class Watch:
    """Whether the table is as it was written, from what the kernel tells. No I/O."""

    def __init__(self, table: str, own_port: int) -> None:
        self._table = table
        self._own_port = own_port
        self.writer: int | None = None
        """The port from which the table is being written whole by us."""
        self.damaged = False

    def expect(self, writer: int) -> None:
        """From port *writer* the table will be written whole by us, once."""
        self.writer = writer

    def feed(self, data: bytes) -> None:
        """Take in a notification; one that is malformed counts as damage."""
        try:
            changes = [nftables.decode_change(answer) for answer in message.decode(data)]
        except InvalidArgument:
            self.damaged = True
            return
        for change in changes:
            if change is None:
                continue
            if change.type == nftables.NEW_GENERATION:
                if change.port == self.writer:
                    # What has this number from now on is another process.
                    self.writer = None
            elif (change.family, change.table) == (nftables.FAMILY_INET, self._table):
                self._take(change)

    def _take(self, change: nftables.Change) -> None:
        if change.port == self.writer:
            if change.type == nftables.NEW_TABLE:
                self.damaged = False
        elif change.port != self._own_port:
            self.damaged = True


class Guard:
    """Of the table *name*, which *write* makes whole again with `put`; until `close`."""

    def __init__(
        self,
        name: str,
        write: Callable[[], Awaitable[None]],
        tasks: TaskSet,
        children: Children,
        nft: Path,
    ) -> None:
        self._name = name
        self._write = write
        self._tasks = tasks
        self._children = children
        self._nft = nft
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
            try:
                sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            except PermissionError:  # root of a user namespace only: what the host allows
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            sock.bind((0, 0))
            sock.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, nftables.GROUP)
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        self._watch = Watch(self._name, own_port)
        asyncio.get_running_loop().add_reader(sock.fileno(), self._readable)

    async def put(self, text: str) -> str:
        """Give *text*, which replaces the whole table, to nft: what that said against it.

        Raises:
            OrlopError: nft cannot be run, or took too long.
        """
        script = os.memfd_create("nft", os.MFD_CLOEXEC)
        try:
            os.write(script, text.encode())
            os.lseek(script, 0, os.SEEK_SET)
            argv = [os.fspath(self._nft), "-f", "-"]
            status, output = await self._children.run(
                argv, stdin_fd=script, timeout_s=NFT_TIMEOUT_S, started=self._watch.expect
            )
        finally:
            os.close(script)
        if status.ok:
            return ""
        self._watch.writer = None  # nothing was written, and another process gets the number
        said = output.decode(errors="replace").strip()[:MAX_SAID_CHARACTERS]
        return said or f"nft ended with status {status.code}"

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
