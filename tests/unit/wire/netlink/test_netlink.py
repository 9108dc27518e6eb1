"""Netlink: packets as the kernel sent them, whole, cut short, and made of nonsense.

Captured on Linux 6.18 in a namespace with a bridge, a pair, an address and routes.
"""

from __future__ import annotations

import errno
import socket

import pytest

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument
from orlop.lib.netlink_message import ControlType, Flag, NetlinkError, Request
from orlop.wire.netlink import address, conntrack, link, nftables, route

LINK = bytes.fromhex(
    "380700001000000007000000270000000000010004000000031000000000000007000300763000000800"
    "0d00e803000005001000030000000500110000000000050043000000000008000400dc05000008003200"
    "4400000008003300ffff000008001b000000000008001e000100000008003d000100000008001f000200"
    "000008002800ffff0000080029000000010008003a000000010008003f00000001000800400000000100"
    "08003b00f8ff070008003c00ffff00000800420000000000080020000200000008000a00020000000500"
    "210000000000080023000100000008002f00000000000800300001000000060044000000000006004500"
    "0000000005002700000000000a000100564674611eaa00000a000200ffffffffffff0000cc0017000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000640007000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000c002b0005000200000000006c0112000900010076657468000000000b000400627269646765"
    "000050010500050001000000000006000200200000000800030002000000050004000000000005000500"
    "000000000500060000000000050007000000000005001c00000000000500080001000000050009000100"
    "000005001b000100000005001e000100000005000a000000000005000c00000000000c000d0080005646"
    "74611eaa0c000e008000564674611eaa06000f0001800000060010000000000006001100018000000600"
    "1200010000000500130000000000050014000000000005001d000000000006001f000000000005002000"
    "000000000500230000000000050024000000000005002100000000000500270000000000050028000000"
    "000005002b00000000000c00150000000000000000000c00160000000000000000000c00170000000000"
    "00000000050019000100000008002500000200000800260000000000080029000000000008002a000000"
    "000008000500030000000c0006006e6f71756575650030031a008c000200880001000000000000000000"
    "000000000100000001000000010000000100000000000000010000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "00000000000000000000000010270000e80300000000000000000000000000000000000001000000a002"
    "0a00080001000000000014000500ffff0000f1d40400404c0000e8030000f40002000000000040000000"
    "dc05000001000000010000000100000001000000ffffffffa00f0000e803000000000000803a09008051"
    "01000300000058020000100000000000000001000000010000000100000060ea00000000000000000000"
    "0000000000000000000000000000000001000000000000000000000010270000e8030000010000000000"
    "000000000000010000000000000000000000010000000000000000000000000000000000000080ee3600"
    "00000000000000000100000000000000000000000000000000000000000000000004000000000000ffff"
    "0000ffffffff010000000000000000000000000000003401030026000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000003c0006000700"
    "000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000000000000000000000000140007000000000000000000000000000000000005000800000000002400"
    "0e00000000000000000000000000000000000000000000000000000000000000000004003e8004004180"
)
ADDRESS = bytes.fromhex(
    "4c0000001400010007000000000000000218800002000000080001000a090001080002000a0900010800"
    "030062723000080008008000000014000600fffffffffffffffff2d40400f2d40400"
)
ROUTES = bytes.fromhex(
    "3400000018000200070000002700000002000000fe0300011000000008000f00fe000000080005000a09"
    "000208000400020000003c00000018000200070000002700000002180000fe02fd011000000008000f00"
    "fe000000080001000a090000080007000a09000108000400020000003c00000018000200070000002700"
    "000002200000ff02fe020000000008000f00ff000000080001000a090001080007000a09000108000400"
    "020000003c00000018000200070000002700000002200000ff02fd031000000008000f00ff0000000800"
    "01000a0900ff080007000a0900010800040002000000"
)
NO_DEVICE = bytes.fromhex(
    "24000000020000010700000027000000a1ffffff44000000100005000700000000000000"
)
ACK = bytes.fromhex("240000000200000107000000270000000000000028000000100005000700000000000000")
NEW_TABLE = bytes.fromhex(
    "3c000000000a00000100000030000000010000020a0001006f726c6f7000000008000300000000000c00"
    "040000000000000000010800020000000000"
)
FLUSHED = bytes.fromhex(
    "380000000b0a00000100000032000000010000040a0001006f726c6f700000000c000200627269646765"
    "73000c001000000000000000000134000000020a00000100000032000000010000040a0001006f726c6f"
    "7000000008000300000000000c0004000000000000000001"
)


def one(data: bytes) -> message.Message:
    (found,) = message.decode(data)
    return found


def test_link() -> None:
    found = link.decode(one(LINK))

    assert (found.index, found.name, found.kind) == (4, "v0", "veth")
    assert (found.mtu, found.master, found.parent) == (1500, 2, 3)
    assert len(found.mac) == 6
    assert found.flags & link.LinkFlag.UP


def test_address() -> None:
    found = address.decode(one(ADDRESS))

    assert found == address.InterfaceAddress(2, bytes([10, 9, 0, 1]), 24)


def test_routes_of_the_main_table_only() -> None:
    found = [known for item in message.decode(ROUTES) if (known := route.decode(item))]

    assert found == [
        route.Route(socket.AF_INET, b"", 0, 2, bytes([10, 9, 0, 2])),
        route.Route(socket.AF_INET, bytes([10, 9, 0, 0]), 24, 2),
    ]


def test_acknowledgement_and_refusal() -> None:
    assert message.error_of(one(ACK)) is None
    error = message.error_of(one(NO_DEVICE))
    assert error is not None
    assert error.errno == errno.EOPNOTSUPP


@pytest.mark.parametrize("capped", [True, False])
def test_the_kernels_own_words(capped: bool) -> None:
    request = message.encode(Request(link.NEW, Flag.ACK, bytes(16)), 1)
    flags = Flag.ACK_ATTRIBUTES | (Flag.CAPPED if capped else Flag(0))
    payload = (-errno.EINVAL).to_bytes(4, "little", signed=True)
    payload += request[: message.HEADER_BYTES] if capped else request
    payload += message.text(1, "Device not found")
    error = message.error_of(message.Message(ControlType.ERROR, flags, 1, 0, payload))

    assert isinstance(error, NetlinkError)
    assert str(error) == "Device not found"
    assert error.errno == errno.EINVAL


def test_changes_of_tables() -> None:
    (made,) = [nftables.decode_change(item) for item in message.decode(NEW_TABLE)]
    flushed = [nftables.decode_change(item) for item in message.decode(FLUSHED)]

    assert made is not None
    assert (made.type, made.family, made.table) == (nftables.NEW_TABLE, 1, "orlop")
    assert [change.type for change in flushed if change] == [
        nftables.DELETE_SET,
        nftables.DELETE_TABLE,
    ]
    assert nftables.decode_change(one(ACK)) is None


@pytest.mark.parametrize("data", [LINK, ADDRESS, ROUTES, NO_DEVICE, NEW_TABLE])
def test_cut_short_anywhere_is_an_error_or_less(data: bytes) -> None:
    for length in range(1, len(data)):
        try:
            for item in message.decode(data[:length]):
                assert len(item.payload) <= length
        except InvalidArgument:
            continue


@pytest.mark.parametrize("length", range(0, 64, 3))
def test_a_message_cut_inside_its_length_is_never_a_crash(length: int) -> None:
    for data, decode in ((LINK, link.decode), (ADDRESS, address.decode), (ROUTES, route.decode)):
        whole = message.decode(data)[0]
        cut = message.Message(whole.type, whole.flags, 1, 0, whole.payload[:length])
        try:
            decode(cut)
        except InvalidArgument:
            continue


@pytest.mark.parametrize("data", [b"\0" * 16, b"\x0f\0\0\0" + b"\0" * 12, b"\xff" * 16, b"\x01"])
def test_lengths_that_do_not_fit(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        message.decode(data)
    if len(data) >= 4:
        with pytest.raises(InvalidArgument):
            list(message.attributes(b"\x03\0\1\0" + data))


def test_what_is_encoded_is_decoded_again() -> None:
    request = address.new(address.InterfaceAddress(7, bytes([10, 0, 0, 1]), 8))
    (found,) = message.decode(message.encode(request, 3))

    assert found.flags & Flag.REQUEST
    assert found.sequence == 3
    assert address.decode(found) == address.InterfaceAddress(7, bytes([10, 0, 0, 1]), 8)
    wanted = route.default(socket.AF_INET6, gateway=bytes(15) + b"\1", output=4)
    assert route.decode(one(message.encode(route.new(wanted), 1))) == wanted


def test_names_that_are_none() -> None:
    for name in ("", "a" * 16):
        with pytest.raises(InvalidArgument):
            link.new_bridge(name)
    with pytest.raises(InvalidArgument):
        link.new_macvlan("eth0", 1, "sideways", netns_fd=3)
    with pytest.raises(InvalidArgument):
        link.new_ipvlan("eth0", 1, "l2", "sideways", netns_fd=3)
    with pytest.raises(InvalidArgument):
        address.new(address.InterfaceAddress(1, b"12345", 8))


def test_a_transaction_is_one_batch_that_answers_for_each_request() -> None:
    element = nftables.Element("bridges", nftables.interface_name("br0"))
    data, sequences = nftables.batch([nftables.add_elements("orlop", [element])], 10)
    begin, middle, end = message.decode(data)

    assert (begin.type, middle.type, end.type) == (0x10, 0x0A0C, 0x11)
    assert sequences == [11]
    assert middle.flags & Flag.ACK
    assert b"orlop\0" in middle.payload
    assert b"br0" + bytes(13) in middle.payload


def test_fields_of_a_key_are_padded_each() -> None:
    assert nftables.concatenate(b"\6", b"\0\x50") == b"\6\0\0\0\0\x50\0\0"


def test_forgetting_connections_names_what_to_look_for() -> None:
    request = conntrack.forget_address(bytes([10, 0, 0, 2]))
    found = message.attribute_map(request.payload[4:])

    assert request.payload[0] == socket.AF_INET
    assert bytes([10, 0, 0, 2]) in found[2]
    assert message.attribute_map(found[25]) == {1: bytes(4), 2: b"\1\0\0\0"}
    by_port = conntrack.forget_port(socket.AF_INET6, 17, 53)
    assert message.attribute_map(message.attribute_map(by_port.payload[4:])[1])[2].endswith(
        b"\x06\0\x03\0\0\x35\0\0"
    )
    strayed = conntrack.forget_port(socket.AF_INET6, 17, 53, strayed=True)
    assert strayed.payload == by_port.payload + bytes.fromhex("0800030000000000 08001a0000000020")


def test_children_of_an_interface_are_made_as_iproute2_makes_them() -> None:
    """`ip link add link eth0 name x type vlan id 50`, `… type ipvlan mode l3 private`."""
    vlan = link.new_vlan("eth0.50", 3, 50).payload
    ipvlan = link.new_ipvlan("x", 3, "l3", "private", netns_fd=9).payload

    assert b"\x08\0\5\0\3\0\0\0" in vlan
    assert b"vlan\0" in vlan
    assert vlan.endswith(bytes.fromhex("0600010032000000"))
    assert b"ipvlan\0" in ipvlan
    assert ipvlan.endswith(bytes.fromhex("06000100010000000600020001000000"))
    assert b"\x08\0\x1c\0\x09\0\0\0" in ipvlan
