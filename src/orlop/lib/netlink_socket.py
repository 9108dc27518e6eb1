"""A netlink socket: requests sent together, answers awaited. Blocks whoever uses it.

The socket belongs to the network namespace its thread was in when it was made, whoever uses it
later.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Self

from orlop.lib import netlink_message as message
from orlop.lib.netlink_message import ControlType, NetlinkError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from orlop.lib.netlink_message import Message, Request

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_CAP_ACK, _EXT_ACK = 10, 11
_RECEIVE_BYTES = 1 << 17
TIMEOUT_S = 20.0
"""The kernel answers while the request is sent: only a lock held elsewhere can take time."""

DUMP_ATTEMPTS = 5


class NetlinkSocket:
    """Use it in a `with` statement, or close it."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        try:
            self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
            self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
            self._socket.bind((0, 0))
            self._socket.settimeout(TIMEOUT_S)
        except BaseException:
            self._socket.close()
            raise
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, *requests: Request) -> None:
        """Have *requests*, all with ACK, done in their order.

        The kernel goes on after one that fails, so the later ones have been tried.

        Raises:
            NetlinkError: the first that was refused.
        """
        first = self._sequence + 1
        self._sequence += len(requests)
        self._socket.send(
            b"".join(
                message.encode(request, first + index) for index, request in enumerate(requests)
            )
        )
        self.collect(range(first, self._sequence + 1))

    @property
    def port(self) -> int:
        """The socket's address: who asked, in notifications."""
        return int(self._socket.getsockname()[0])

    def reserve(self, count: int) -> int:
        """The first of *count* sequence numbers for `send_raw`."""
        first = self._sequence + 1
        self._sequence += count
        return first

    def send_raw(self, data: bytes) -> None:
        """Send messages that are numbered already; `collect` their answers."""
        self._socket.send(data)

    def collect(self, sequences: Sequence[int], begin: int = 0) -> None:
        """Wait for an answer of type ERROR for each of *sequences*.

        *begin* numbers a message that is answered, before them, only if all have failed together,
        whatever they are said to have done.

        Raises:
            NetlinkError: the first that was refused.
        """
        waiting = set(sequences)
        failure: NetlinkError | None = None
        while waiting:
            for answer in self._receive():
                if answer.type != ControlType.ERROR:
                    continue
                if answer.sequence in waiting:
                    waiting.discard(answer.sequence)
                    failure = failure or message.error_of(answer)
                elif answer.sequence == begin and (together := message.error_of(answer)):
                    raise together
        if failure is not None:
            raise failure

    def ask(self, request: Request) -> Message:
        """The one answer to *request*, which has no ACK.

        Raises:
            NetlinkError: there is no such thing, or it was refused.
        """
        self._sequence += 1
        self._socket.send(message.encode(request, self._sequence))
        while True:
            for answer in self._receive():
                if answer.sequence != self._sequence:
                    continue
                if answer.type == ControlType.ERROR:
                    raise message.error_of(answer) or NetlinkError(errno.ENODATA)
                return answer

    def dump(self, request: Request) -> list[Message]:
        """Everything *request* asks for, taken again when it changed meanwhile.

        Raises:
            NetlinkError: refused, or never the same twice.
        """
        for _ in range(DUMP_ATTEMPTS):
            answers, interrupted = self._dump(request)
            if not interrupted:
                return answers
        raise NetlinkError(errno.EINTR, "the list kept changing while it was read")

    def _dump(self, request: Request) -> tuple[list[Message], bool]:
        self._sequence += 1
        self._socket.send(message.encode(request, self._sequence))
        answers: list[Message] = []
        interrupted = False
        while True:
            for answer in self._receive():
                if answer.sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(answer.flags & message.Flag.DUMP_INTERRUPTED)
                if answer.type == ControlType.DONE:
                    return answers, interrupted
                if answer.type == ControlType.ERROR:
                    raise message.error_of(answer) or NetlinkError(errno.ENODATA)
                answers.append(answer)

    def _receive(self) -> list[Message]:
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except TimeoutError as error:
            raise NetlinkError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from error
        return message.decode(data)
