"""WireGuard's devices over generic netlink: keys, peers, what they may send.

Source: Linux 6.12 include/uapi/linux/wireguard.h, genetlink.h.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass, field
from enum import IntEnum

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument
from orlop.lib.netlink_message import Flag, Message, Request

FAMILY = "wireguard"
KEY_BYTES = 32
NO_KEY = bytes(KEY_BYTES)

_HEADER = struct.Struct("=BBH")
_CONTROL, _GET_FAMILY = 16, 3
_FAMILY_ID, _FAMILY_NAME = 1, 2
_GET_DEVICE, _SET_DEVICE = 0, 1
_VERSION = 1
_REMOVE = 1
_REPLACE_ALLOWED = 2


class _Device(IntEnum):
    NAME = 2
    PRIVATE_KEY = 3
    LISTEN_PORT = 6
    MARK = 7
    PEERS = 8


class _Peer(IntEnum):
    PUBLIC_KEY = 1
    PRESHARED_KEY = 2
    FLAGS = 3
    ENDPOINT = 4
    KEEPALIVE = 5
    ALLOWED = 9


class _Allowed(IntEnum):
    FAMILY = 1
    ADDRESS = 2
    LENGTH = 3


@dataclass(frozen=True, slots=True)
class Peer:
    """*endpoint* is an address and a port, None where it is not known. *allowed* are networks."""

    public_key: bytes
    preshared_key: bytes = field(default=NO_KEY, repr=False)
    endpoint: tuple[str, int] | None = None
    keepalive_s: int = 0
    allowed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Device:
    """*listen_port* 0: the kernel takes a free one. *mark*: that of the packets it sends."""

    private_key: bytes = field(repr=False)
    listen_port: int = 0
    mark: int = 0
    peers: frozenset[Peer] = frozenset()


def get_family() -> Request:
    """Ask for the number that the family has on this machine."""
    payload = _HEADER.pack(_GET_FAMILY, _VERSION, 0) + message.text(_FAMILY_NAME, FAMILY)
    return Request(_CONTROL, Flag(0), payload)


def family_id(answer: Message) -> int:
    """The number in the answer to `get_family`."""
    found = message.attribute_map(answer.payload[_HEADER.size :])
    return int.from_bytes(found.get(_FAMILY_ID, b""), "little")


def get_device(family: int, name: str) -> Request:
    """Ask for interface *name* with its peers, in one or more answers."""
    payload = _HEADER.pack(_GET_DEVICE, _VERSION, 0) + message.text(_Device.NAME, name)
    return Request(family, Flag.DUMP, payload)


def set_device(
    family: int, name: str, wanted: Device, gone: frozenset[bytes] = frozenset()
) -> Request:
    """Make interface *name* as *wanted*; peers with the keys *gone* go. Sessions go on."""
    payload = _HEADER.pack(_SET_DEVICE, _VERSION, 0) + message.text(_Device.NAME, name)
    payload += message.attribute(_Device.PRIVATE_KEY, wanted.private_key)
    if wanted.listen_port:
        payload += message.u16(_Device.LISTEN_PORT, wanted.listen_port)
    payload += message.u32(_Device.MARK, wanted.mark)
    peers = [_peer(peer) for peer in sorted(wanted.peers, key=lambda peer: peer.public_key)]
    peers += [_removed(key) for key in sorted(gone)]
    payload += message.nested(
        _Device.PEERS, *(message.nested(index, peer) for index, peer in enumerate(peers))
    )
    return Request(family, Flag.ACK, payload)


def _peer(peer: Peer) -> bytes:
    data = message.attribute(_Peer.PUBLIC_KEY, peer.public_key)
    data += message.attribute(_Peer.PRESHARED_KEY, peer.preshared_key)
    data += message.u32(_Peer.FLAGS, _REPLACE_ALLOWED)
    if peer.endpoint is not None:
        data += message.attribute(_Peer.ENDPOINT, _socket_address(*peer.endpoint))
    data += message.u16(_Peer.KEEPALIVE, peer.keepalive_s)
    allowed = [message.nested(n, _allowed(text)) for n, text in enumerate(sorted(peer.allowed))]
    return data + message.nested(_Peer.ALLOWED, *allowed)


def _removed(public_key: bytes) -> bytes:
    return message.attribute(_Peer.PUBLIC_KEY, public_key) + message.u32(_Peer.FLAGS, _REMOVE)


def _allowed(text: str) -> bytes:
    network = ipaddress.ip_network(text)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    data = message.u16(_Allowed.FAMILY, family)
    data += message.attribute(_Allowed.ADDRESS, network.network_address.packed)
    return data + message.u8(_Allowed.LENGTH, network.prefixlen)


def _socket_address(address: str, port: int) -> bytes:
    packed = ipaddress.ip_address(address).packed
    if len(packed) == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, packed)
    return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16sI", port, 0, packed, 0)


def _endpoint(data: bytes) -> tuple[str, int] | None:
    if len(data) < 8:
        return None
    (family,) = struct.unpack_from("=H", data)
    (port,) = struct.unpack_from("!H", data, 2)
    packed = data[4:8] if family == socket.AF_INET else data[8:24]
    if len(packed) not in (4, 16):
        return None
    return str(ipaddress.ip_address(packed)), port


def decode(answers: list[Message]) -> Device:
    """What the answers to `get_device` say together.

    Raises:
        InvalidArgument: malformed.
    """
    if not answers:
        raise InvalidArgument("netlink: no answer about a WireGuard device")
    found: dict[int, bytes] = {}
    peers: dict[bytes, Peer] = {}
    for answer in answers:
        attributes = message.attribute_map(answer.payload[_HEADER.size :])
        for _, data in message.attributes(attributes.get(_Device.PEERS, b"")):
            peer = _decode_peer(data)
            known = peers.get(peer.public_key)
            if known is not None:  # what a peer may send did not fit into one answer
                peer = Peer(
                    *(known.public_key, known.preshared_key, known.endpoint, known.keepalive_s),
                    known.allowed | peer.allowed,
                )
            peers[peer.public_key] = peer
        found = attributes | found
    return Device(
        found.get(_Device.PRIVATE_KEY, NO_KEY),
        int.from_bytes(found.get(_Device.LISTEN_PORT, b""), "little"),
        message.read_u32(found.get(_Device.MARK)),
        frozenset(peers.values()),
    )


def _decode_peer(data: bytes) -> Peer:
    found = message.attribute_map(data)
    allowed = set()
    for _, item in message.attributes(found.get(_Peer.ALLOWED, b"")):
        network = message.attribute_map(item)
        address = network.get(_Allowed.ADDRESS, b"")
        if len(address) in (4, 16):
            length = int.from_bytes(network.get(_Allowed.LENGTH, b""))
            allowed.add(f"{ipaddress.ip_address(address)}/{length}")
    return Peer(
        found.get(_Peer.PUBLIC_KEY, b""),
        found.get(_Peer.PRESHARED_KEY, NO_KEY),
        _endpoint(found.get(_Peer.ENDPOINT, b"")),
        int.from_bytes(found.get(_Peer.KEEPALIVE, b""), "little"),
        frozenset(allowed),
    )
