"""A datagram is decoded or refused as invalid; so are links, routes and addresses in it."""

from __future__ import annotations

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument
from orlop.wire.netlink import address, bridge_vlan, link, nftables, route

SEEDS = tuple(
    message.encode(request, 3)
    for request in (
        link.new_bridge("br0", mac=b"\2\0\0\0\0\1", mtu=1500),
        link.new_dummy("d0"),
        link.get("eth0"),
        bridge_vlan.add(3, {1: 6, 10: 0, 11: 0}, own=True),
        route.get_all(2),
        address.get_all(),
    )
)
# An error number that no integer of C holds when its sign is turned.
SEEDS += (b"\x14\0\0\0\x02\0\0\0\1\0\0\0\0\0\0\0\0\0\0\x80",)
TOKENS = (b"\x10\0\0\0", b"\4\0\1\0", b"\0\0", b"\xff\xff\xff\xff", b"\x08\0\x03\0lo\0\0")


def check(data: bytes) -> None:
    try:
        messages = message.decode(data)
    except InvalidArgument:
        return
    assert sum(len(found.payload) for found in messages) <= len(data)
    for found in messages:
        for decode in (
            *(link.decode, route.decode, address.decode),
            *(nftables.decode_change, message.error_of, bridge_vlan.decode),
        ):
            try:
                decode(found)
            except InvalidArgument:
                continue
