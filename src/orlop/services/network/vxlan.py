"""VXLAN: Ethernet in UDP, to one other end or to a multicast group. Pure.

Source: Linux 6.12 include/uapi/linux/if_link.h (IFLA_VXLAN_*), RFC 7348.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING

from orlop.services.network.model import WantedLink
from orlop.services.settings import integer_setting, text_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

_ID, _TTL, _PORT = 1, 5, 15
_REMOTE, _LOCAL = {4: 2, 6: 16}, {4: 4, 6: 17}
PORT = 4789
_MTU = {4: 1450, 6: 1430}
"""What fits into packets of 1500 bytes. Where the kernel knows the card it sees to it itself."""


def link_of(
    name: str, entry: Mapping[str, object], names: Mapping[str, str], problems: list[str]
) -> WantedLink | None:
    """The link that the entry `vxlan` of *name* describes; *names*: what labels stand for."""
    number = integer_setting(entry, "id", 0)
    remote, local = (text_setting(entry, key) for key in ("remote", "local"))
    parent = text_setting(entry, "interface")
    parent = names.get(parent, parent)
    if not number or not remote:
        problems.append(f"{name}: has no vxlan.{'remote' if number else 'id'}")
        return None
    end = ipaddress.ip_address(remote)
    if end.is_multicast and not parent:
        problems.append(f"{name}: vxlan.remote is a group: vxlan.interface has to say where")
        return None
    data = {
        _ID: struct.pack("=I", number),
        _TTL: bytes([integer_setting(entry, "ttl", 0)]),
        _PORT: struct.pack("!H", integer_setting(entry, "port", PORT)),
        _REMOTE[end.version]: end.packed,
    }
    if local:
        own = ipaddress.ip_address(local)
        if own.version != end.version:
            problems.append(f"{name}: vxlan.local is not of the same version as vxlan.remote")
            return None
        data[_LOCAL[own.version]] = own.packed
    # All of it can only be told to a new one.
    fixed = frozenset((_ID, _TTL, _PORT, *_REMOTE.values(), *_LOCAL.values()))
    mtu = 0 if parent else _MTU[end.version]
    return WantedLink(name, "vxlan", parent, data, data, fixed, mtu=mtu)
