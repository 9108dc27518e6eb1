"""Collecting answers of the kernel, from a peer that stands for it."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from orlop.lib import netlink_message as message
from orlop.lib.netlink_message import ControlType, Flag, NetlinkError, Request
from orlop.lib.netlink_socket import NetlinkSocket


def answer(sequence: int, number: int) -> bytes:
    payload = struct.pack("=i", -number) + bytes(message.HEADER_BYTES)
    return message.encode(Request(ControlType.ERROR, Flag(0), payload), sequence)


class Fed(NetlinkSocket):
    """What *datagrams* are read from it."""

    def __init__(self, *datagrams: bytes) -> None:
        self._socket, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with peer:
            for datagram in datagrams:
                peer.send(datagram)


def test_a_transaction_that_fails_at_its_end_has_failed() -> None:
    """Each of its messages is said to be done, after the answer to the first one."""
    with (
        Fed(answer(4, errno.ENOMEM), answer(5, 0) + answer(6, 0)) as sock,
        pytest.raises(NetlinkError) as raised,
    ):
        sock.collect([5, 6], begin=4)
    assert raised.value.errno == errno.ENOMEM


def test_the_first_refusal_is_raised_when_all_are_answered() -> None:
    with Fed(answer(5, errno.ENOENT), answer(6, errno.EBUSY), answer(7, 0)) as sock:
        with pytest.raises(NetlinkError) as raised:
            sock.collect([5, 6], begin=4)
        assert raised.value.errno == errno.ENOENT
        sock.collect([7], begin=4)
