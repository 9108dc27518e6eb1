"""Addresses and routes of the machine, asked from the kernel."""

from __future__ import annotations

import _socket
import struct

from orlop.lib import netlink_message as message
from orlop.lib.netlink_socket import NetlinkSocket
from orlop.wire.netlink import address, route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.answers import Object

CACHE_INFO = 6
"""IFA_CACHEINFO: preferred and valid lifetimes in seconds, and two times."""
FOR_EVER = 0xFFFFFFFF
SCOPES = {0: "global", 253: "link", 254: "host"}


def addresses() -> dict[int, list[Object]]:
    """The addresses of each interface, by its index: *lease_s* is for how long it still has one
    that was leased or advertised, None for ever."""
    found: dict[int, list[Object]] = {}
    with NetlinkSocket() as kernel:
        answers = kernel.dump(address.get_all())
    for answer in answers:
        known = address.decode(answer)
        if known is None:
            continue
        attributes = message.attribute_map(answer.payload[8:])
        valid_s = FOR_EVER
        if len(info := attributes.get(CACHE_INFO, b"")) >= 8:
            valid_s = struct.unpack_from("=II", info)[1]
        found.setdefault(known.index, []).append(
            {
                "address": f"{_text(known.address)}/{known.prefix_length}",
                "scope": SCOPES.get(answer.payload[3], str(answer.payload[3])),
                "lease_s": None if valid_s == FOR_EVER else valid_s,
            }
        )
    return found


def routes(names: dict[int, str]) -> list[Object]:
    """The routes of the main table; *names* are those of interfaces, by index."""
    found: list[Object] = []
    for family in (_socket.AF_INET, _socket.AF_INET6):
        with NetlinkSocket() as kernel:
            answers = kernel.dump(route.get_all(family))
        for answer in answers:
            known = route.decode(answer)
            if known is None:
                continue
            target = known.destination
            found.append(
                {
                    "destination": f"{_text(target)}/{known.prefix_length}"
                    if target
                    else "default",
                    "gateway": _text(known.gateway) if known.gateway else None,
                    "interface": names.get(known.output, ""),
                    "family": "ipv4" if family == _socket.AF_INET else "ipv6",
                }
            )
    return found


def _text(data: bytes) -> str:
    return _socket.inet_ntop(_socket.AF_INET if len(data) == 4 else _socket.AF_INET6, data)
