"""WireGuard's messages, both ways."""

import pytest

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument
from orlop.lib.netlink_message import Message, Request
from orlop.wire.netlink import rule, wireguard
from orlop.wire.netlink.wireguard import Device, Peer

DEVICE = Device(
    bytes(range(32)),
    51820,
    7,
    frozenset(
        {
            Peer(
                b"a" * 32,
                b"p" * 32,
                ("192.0.2.1", 4000),
                25,
                frozenset({"10.9.0.0/24", "fd00::/8"}),
            ),
            Peer(b"b" * 32, endpoint=("2001:db8::1", 51820)),
            Peer(b"c" * 32),
        }
    ),
)


def as_answer(request: Request) -> Message:
    """The kernel describes a device with the attributes that set it."""
    return Message(request.type, 0, 1, 0, request.payload)


def test_a_device_comes_back_as_it_was_set() -> None:
    request = wireguard.set_device(33, "wg0", DEVICE)
    assert request.type == 33
    assert wireguard.decode([as_answer(request)]) == DEVICE
    assert "private" not in repr(DEVICE)


def test_a_peer_in_two_answers() -> None:
    networks = ("10.1.0.0/16", "10.2.0.0/16")
    peers = [Peer(b"a" * 32, allowed=frozenset({network})) for network in networks]
    parts = [Device(DEVICE.private_key, peers=frozenset({peer})) for peer in peers]
    answers = [as_answer(wireguard.set_device(33, "wg0", part)) for part in parts]
    (peer,) = wireguard.decode(answers).peers
    assert peer.allowed == {"10.1.0.0/16", "10.2.0.0/16"}


def test_peers_that_go_are_named() -> None:
    plain = wireguard.set_device(33, "wg0", Device(DEVICE.private_key))
    gone = wireguard.set_device(33, "wg0", Device(DEVICE.private_key), frozenset({b"z" * 32}))
    assert b"z" * 32 in gone.payload
    assert b"z" * 32 not in plain.payload


def test_family() -> None:
    asked = wireguard.get_family()
    assert b"wireguard\0" in asked.payload
    answer = Message(16, 0, 1, 0, bytes(4) + message.u16(1, 33))
    assert wireguard.family_id(answer) == 33


@pytest.mark.parametrize("data", [b"", b"\0" * 3, b"\0" * 4 + b"\xff\0\0\0"])
def test_what_is_cut_short(data: bytes) -> None:
    try:
        wireguard.decode([Message(33, 0, 1, 0, data)])
    except InvalidArgument:
        pass
    with pytest.raises(InvalidArgument):
        wireguard.decode([])
    with pytest.raises(InvalidArgument):
        rule.decode(Message(32, 0, 1, 0, data[:3]))


def test_a_rule_comes_back_as_it_was_set() -> None:
    wanted = rule.Rule(
        *(2, 1000, 50, bytes([192, 0, 2, 0]), 24, bytes([10, 0, 0, 0]), 8),
        *("eth0", "eth1", 0x10, 0xFF),
        protocol=79,
    )
    assert rule.decode(as_answer(rule.new(wanted))) == wanted
