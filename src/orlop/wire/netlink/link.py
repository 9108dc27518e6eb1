"""Network interfaces: requests to make, change and delete them, and what the kernel tells of them.

Source: Linux 6.12 include/uapi/linux/rtnetlink.h, if_link.h, veth.h, net/core/rtnetlink.c.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import TYPE_CHECKING

from orlop.lib import netlink_message as message
from orlop.lib.errors import InvalidArgument
from orlop.lib.netlink_message import Flag, Message, Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INFO = struct.Struct("=BxHiII")
MAX_NAME_BYTES = 15

NEW, DELETE, GET = 16, 17, 18
"""RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK."""


class LinkFlag(IntFlag):
    """IFF_*."""

    UP = 0x1
    LOOPBACK = 0x8


class _Attribute(IntEnum):
    ADDRESS = 1
    NAME = 3
    MTU = 4
    LINK = 5
    MASTER = 10
    LINK_INFO = 18
    ALIAS = 20
    AF_SPEC = 26
    NETNS_FD = 28
    PERMANENT_ADDRESS = 54


class _Info(IntEnum):
    KIND = 1
    DATA = 2
    SLAVE_KIND = 4
    SLAVE_DATA = 5


_VETH_PEER = 1
_INET6 = 10
_INET6_ADDR_GEN_MODE = 8
_ADDR_GEN_NONE = 1
_VLAN_ID = 1
_MACVLAN_MODE = 1
_IPVLAN_MODE, _IPVLAN_FLAGS = 1, 2
_VXLAN_LINK = 3
_PORT_ISOLATED = 33

MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as the kernel describes it. *master* and *parent* are indexes, 0 for none."""

    index: int
    name: str
    kind: str
    mac: bytes
    mtu: int
    flags: int
    master: int
    parent: int
    hardware: int = 1
    """ARPHRD_*; 1 is Ethernet."""
    alias: str = ""
    permanent_mac: bytes = b""
    """What the card was made with; empty for links that are not hardware."""
    data: Mapping[int, bytes] = field(default_factory=dict)
    """The attributes of its kind."""


def decode(answer: Message) -> Link:
    """What RTM_NEWLINK says.

    Raises:
        InvalidArgument: malformed.
    """
    if len(answer.payload) < _INFO.size:
        raise InvalidArgument("netlink: a link without a header")
    _family, hardware, index, flags, _change = _INFO.unpack_from(answer.payload)
    found = message.attribute_map(answer.payload[_INFO.size :])
    info = message.attribute_map(found.get(_Attribute.LINK_INFO, b""))
    kind = message.read_text(info.get(_Info.KIND))
    data = message.attribute_map(info.get(_Info.DATA, b""))
    if kind == "vxlan":  # what it is on is an attribute of its kind
        found[_Attribute.LINK] = data.get(_VXLAN_LINK, b"")
    return Link(
        index=index,
        name=message.read_text(found.get(_Attribute.NAME)),
        kind=kind,
        mac=found.get(_Attribute.ADDRESS, b""),
        mtu=message.read_u32(found.get(_Attribute.MTU)),
        flags=flags,
        master=message.read_u32(found.get(_Attribute.MASTER)),
        parent=message.read_u32(found.get(_Attribute.LINK)),
        hardware=hardware,
        alias=message.read_text(found.get(_Attribute.ALIAS)),
        permanent_mac=found.get(_Attribute.PERMANENT_ADDRESS, b""),
        data=data,
    )


def header(*, index: int = 0, flags: int = 0, change: int = 0, family: int = 0) -> bytes:
    """What each message about interfaces begins with."""
    return _INFO.pack(family, 0, index, flags, change)


def _name(name: str) -> bytes:
    if not 0 < len(name.encode()) <= MAX_NAME_BYTES:
        raise InvalidArgument(f"no name for an interface: {name[:40]!r}")
    return message.text(_Attribute.NAME, name)


def _common(mac: bytes, mtu: int) -> bytes:
    data = message.attribute(_Attribute.ADDRESS, mac) if mac else b""
    return data + (message.u32(_Attribute.MTU, mtu) if mtu else b"")


def get_all() -> Request:
    """Ask for all interfaces."""
    return Request(GET, Flag.DUMP, header())


_CREATE = Flag.ACK | Flag.CREATE | Flag.EXCLUSIVE


def _without_link_local() -> bytes:
    inner = message.u8(_INET6_ADDR_GEN_MODE, _ADDR_GEN_NONE)
    return message.nested(_Attribute.AF_SPEC, message.nested(_INET6, inner))


def _kind(kind: str, *data: bytes) -> bytes:
    inner = message.text(_Info.KIND, kind)
    if data:
        inner += message.nested(_Info.DATA, *data)
    return message.nested(_Attribute.LINK_INFO, inner)


def get(name: str) -> Request:
    """Ask for the interface *name*."""
    return Request(GET, Flag(0), header() + _name(name))


def new_bridge(name: str, *, mac: bytes = b"", mtu: int = 0) -> Request:
    """Make a bridge, down."""
    payload = header() + _name(name) + _common(mac, mtu) + _kind("bridge")
    return Request(NEW, _CREATE, payload)


def new_veth(
    name: str,
    master: int,
    *,
    peer: str,
    peer_netns_fd: int,
    peer_mac: bytes = b"",
    mtu: int = 0,
) -> Request:
    """Make a pair: *name* here, a port of bridge *master*; *peer* in another namespace. Both down.

    The kernel does not take the setting for link-local addresses at this time: `configure` them
    before `set_up`.
    """
    other = header() + _name(peer) + _common(peer_mac, mtu)
    other += message.u32(_Attribute.NETNS_FD, peer_netns_fd)
    payload = header() + _name(name) + _common(b"", mtu)
    payload += message.u32(_Attribute.MASTER, master)
    payload += _kind("veth", message.nested(_VETH_PEER, other))
    return Request(NEW, _CREATE, payload)


def _new_child(name: str, parent: int, kind: bytes, netns_fd: int, mac: bytes, mtu: int) -> Request:
    payload = header() + _name(name) + message.u32(_Attribute.LINK, parent) + _common(mac, mtu)
    payload += message.u32(_Attribute.NETNS_FD, netns_fd)
    return Request(NEW, _CREATE, payload + kind)


def new_macvlan(
    name: str, parent: int, mode: str, *, netns_fd: int, mac: bytes = b"", mtu: int = 0
) -> Request:
    """Make a macvlan of interface *parent*, down, in another namespace.

    Raises:
        InvalidArgument: no such mode.
    """
    if mode not in MACVLAN_MODES:
        raise InvalidArgument(f"unknown macvlan mode: {mode[:40]!r}")
    kind = _kind("macvlan", message.u32(_MACVLAN_MODE, MACVLAN_MODES[mode]))
    return _new_child(name, parent, kind, netns_fd, mac, mtu)


def new_ipvlan(
    name: str, parent: int, mode: str, flag: str, *, netns_fd: int, mtu: int = 0
) -> Request:
    """Make an ipvlan of interface *parent*, down, in another namespace.

    Raises:
        InvalidArgument: no such mode or flag.
    """
    if mode not in IPVLAN_MODES or flag not in IPVLAN_FLAGS:
        raise InvalidArgument(f"unknown ipvlan mode or flag: {mode[:40]!r}, {flag[:40]!r}")
    data = message.u16(_IPVLAN_MODE, IPVLAN_MODES[mode])
    data += message.u16(_IPVLAN_FLAGS, IPVLAN_FLAGS[flag])
    return _new_child(name, parent, _kind("ipvlan", data), netns_fd, b"", mtu)


def new_vlan(name: str, parent: int, vlan_id: int) -> Request:
    """Make the VLAN *vlan_id* of interface *parent*, up."""
    payload = header(flags=LinkFlag.UP, change=LinkFlag.UP) + _name(name)
    payload += message.u32(_Attribute.LINK, parent)
    return Request(NEW, _CREATE, payload + _kind("vlan", message.u16(_VLAN_ID, vlan_id)))


def new_dummy(name: str) -> Request:
    """Make an interface that leads nowhere, up: the parent of networks without one."""
    payload = header(flags=LinkFlag.UP, change=LinkFlag.UP) + _name(name)
    return Request(NEW, _CREATE, payload + _kind("dummy"))


def new(name: str, kind: str, data: Mapping[int, bytes], *, parent: int = 0) -> Request:
    """Make an interface of *kind*, down, with attributes of that kind."""
    payload, values = header() + _name(name), _data(data)
    if parent and kind == "vxlan":
        values = [*values, message.u32(_VXLAN_LINK, parent)]
    elif parent:
        payload += message.u32(_Attribute.LINK, parent)
    return Request(NEW, _CREATE, payload + _kind(kind, *values))


def change(name: str, kind: str, data: Mapping[int, bytes]) -> Request:
    """Change attributes of its kind."""
    return Request(NEW, Flag.ACK, header() + _name(name) + _kind(kind, *_data(data)))


def _data(data: Mapping[int, bytes]) -> Sequence[bytes]:
    return [message.attribute(kind, value) for kind, value in data.items()]


def set_alias(name: str, alias: str) -> Request:
    """The text that stands beside the interface *name*."""
    return Request(NEW, Flag.ACK, header() + _name(name) + message.text(_Attribute.ALIAS, alias))


def set_master(name: str, master: int) -> Request:
    """Make interface *name* a member of bond or bridge *master*; 0: of none."""
    payload = header() + _name(name) + message.u32(_Attribute.MASTER, master)
    return Request(NEW, Flag.ACK, payload)


def set_down(name: str) -> Request:
    """Switch interface *name* off."""
    return Request(NEW, Flag.ACK, header(change=LinkFlag.UP) + _name(name))


def bond_targets(addresses: Sequence[str]) -> bytes:
    """The value of a bond's ARP targets, IPv4 addresses."""
    packed = enumerate(map(socket.inet_aton, addresses))
    return b"".join(message.attribute(index, address) for index, address in packed)


def configure(
    name: str, *, mac: bytes = b"", mtu: int = 0, up: bool = False, link_local: bool = True
) -> Request:
    """Change interface *name*: its address, its size, no IPv6 address of its own accord, on."""
    flag = LinkFlag.UP if up else LinkFlag(0)
    payload = header(flags=flag, change=flag) + _name(name) + _common(mac, mtu)
    if not link_local:
        payload += _without_link_local()
    return Request(NEW, Flag.ACK, payload)


def set_port(name: str, *, isolated: bool) -> Request:
    """Whether bridge port *name* may talk to other isolated ports of its bridge."""
    inner = message.u8(_PORT_ISOLATED, int(isolated))
    info = message.text(_Info.SLAVE_KIND, "bridge") + message.nested(_Info.SLAVE_DATA, inner)
    payload = header() + _name(name) + message.nested(_Attribute.LINK_INFO, info)
    return Request(NEW, Flag.ACK, payload)


def rename(index: int, name: str) -> Request:
    """Call interface *index*, which must be down, *name*."""
    return Request(NEW, Flag.ACK, header(index=index) + _name(name))


def delete(name: str) -> Request:
    """Delete the interface *name*; of a pair, both."""
    return Request(DELETE, Flag.ACK, header() + _name(name))
