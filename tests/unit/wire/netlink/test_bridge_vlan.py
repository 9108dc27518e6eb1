"""VLANs of ports, as the kernel says and takes them."""

from __future__ import annotations

import pytest

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument
from orlop.lib.netlink_message import Message
from orlop.wire.netlink import bridge_vlan

HEADER_BYTES = 16


def entry(flags: int, number: int) -> bytes:
    return flags.to_bytes(2, "little") + number.to_bytes(2, "little")


def entries(payload: bytes) -> list[bytes]:
    top = message.attribute_map(payload[HEADER_BYTES:])
    return [value for kind, value in message.attributes(top[26]) if kind == 2]


def test_ranges_are_written_where_they_can_be() -> None:
    vlans = {1: 6, 2: 2, 10: 0, 11: 0, 12: 0, 14: 0, 20: 4}
    request = bridge_vlan.add(5, vlans, own=False)
    assert request.type == 19  # RTM_SETLINK; the kernel takes no RTM_NEWLINK of this family
    assert entries(request.payload) == [
        *(entry(6, 1), entry(2, 2), entry(8, 10), entry(16, 12), entry(0, 14), entry(4, 20)),
    ]
    every = bridge_vlan.delete(5, range(1, 4095), own=True)
    assert entries(every.payload) == [entry(8, 1), entry(16, 4094)]
    assert message.attribute_map(message.attribute_map(every.payload[HEADER_BYTES:])[26])[0] == (
        b"\2\0"
    )


def answer(payload: bytes) -> Message:
    return Message(16, 0, 0, 0, payload)


def test_what_was_written_is_read() -> None:
    vlans = {1: 6, 10: 0, 11: 0, 12: 0, 20: 4}
    assert bridge_vlan.decode(answer(bridge_vlan.add(5, vlans, own=True).payload)) == (5, vlans)
    assert bridge_vlan.decode(answer(bridge_vlan.add(5, {}, own=False).payload)) == (5, {})


def test_malformed() -> None:
    payload = bridge_vlan.add(5, {}, own=False).payload
    short = message.nested(26, message.attribute(2, b"\1"))
    with pytest.raises(InvalidArgument, match="another size"):
        bridge_vlan.decode(answer(payload[:HEADER_BYTES] + short))
    with pytest.raises(InvalidArgument):
        bridge_vlan.decode(answer(payload[:8]))
