"""Having the kernel forget connections: by the address they are answered from, or by a port.

Without it a sender of datagrams that never pauses goes on being led to a container that has ended,
or past one that has just published the port. The kernel looks for them itself (CTA_FILTER, v5.8).
Source: Linux 6.12 include/uapi/linux/netfilter/nfnetlink_conntrack.h, net/netfilter/
nf_conntrack_netlink.c.
"""

from __future__ import annotations

import struct

from orlop.lib import netlink_message as message
from orlop.lib.netlink_message import Flag, Request
from orlop.wire.netlink.address import family_of

_DELETE = 1 << 8 | 2
_TUPLE_ORIGINAL, _TUPLE_REPLY, _STATUS, _FILTER, _STATUS_MASK = 1, 2, 3, 25, 26
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_SOURCE = {4: 1, 16: 3}
_PROTO_NUMBER, _PROTO_DESTINATION = 1, 3
_LED_ELSEWHERE = 1 << 5
"""IPS_DST_NAT of nf_conntrack_common.h."""
_BY_SOURCE, _BY_NUMBER, _BY_DESTINATION_PORT = 1 << 0, 1 << 3, 1 << 5


def _request(family: int, *attributes: bytes) -> Request:
    return Request(_DELETE, Flag.ACK, struct.pack("=BBH", family, 0, 0) + b"".join(attributes))


def _filter(original: int, reply: int) -> bytes:
    return message.nested(_FILTER, message.u32(1, original), message.u32(2, reply))


def forget_address(address: bytes) -> Request:
    """Forget what *address* answers: connections to it, however they were led there."""
    source = message.attribute(_SOURCE[len(address)], address)
    tuple_ = message.nested(_TUPLE_REPLY, message.nested(_TUPLE_IP, source))
    return _request(family_of(address), tuple_, _filter(0, _BY_SOURCE))


def forget_port(family: int, protocol: int, port: int, *, strayed: bool = False) -> Request:
    """Forget what was sent to *port*, as its senders see it; with *strayed* only what no rule has
    led elsewhere.
    """
    fields = message.u8(_PROTO_NUMBER, protocol) + message.u16_network(_PROTO_DESTINATION, port)
    tuple_ = message.nested(_TUPLE_ORIGINAL, message.nested(_TUPLE_PROTO, fields))
    status = [message.u32_network(_STATUS, 0), message.u32_network(_STATUS_MASK, _LED_ELSEWHERE)]
    by_port = _filter(_BY_NUMBER | _BY_DESTINATION_PORT, 0)
    return _request(family, tuple_, by_port, *(status if strayed else []))
