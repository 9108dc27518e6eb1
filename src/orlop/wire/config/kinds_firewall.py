"""What the values of `orlop.firewall` may be. Pure; input may be hostile.

In normal form a rule's ports are `LOW-HIGH/PROTOCOL` or `PORT/PROTOCOL` without overlaps, its
networks without overlaps too: nftables refuses sets in which two entries meet.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from orlop.wire.config.kinds import Kind, choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

WITH_PORTS = ("tcp", "udp", "sctp", "dccp", "udplite")
PROTOCOLS = (*WITH_PORTS, "icmp", "igmp", "gre", "esp", "ah", "vrrp", "ospf", "ipip")

_PORT = r"(\d{1,5})(?:-(\d{1,5}))?(?:/([a-z]+))?"
_INTERFACE = r"[^\s/:\"*]{1,15}|[^\s/:\"*]{0,14}\*"
_LIST: Mapping[str, Json] = {
    "type": ["array", "string", "integer"],
    "items": {"type": ["string", "integer"]},
}


def _ports(fields: Fields, key: str) -> Json:
    if isinstance(number := fields.take(key), int) and not isinstance(number, bool):
        texts: tuple[str, ...] = (str(number),)
    else:
        texts = (number,) if isinstance(number, str) else fields.check_strings(key, number)
    for index, text in enumerate(texts):
        match = re.fullmatch(_PORT, text)
        low, high = (0, 0) if match is None else (int(match[1]), int(match[2] or match[1]))
        if match is None or not 0 < low <= high < 65536:
            fields.fail(f"{key}[{index}]", f"must be a port such as 443/tcp, not {text[:40]!r}")
        if match[3] and match[3] not in WITH_PORTS:
            fields.fail(f"{key}[{index}]", f"{match[3]} has no ports: {', '.join(WITH_PORTS)} do")
    return [*texts]


def _networks(fields: Fields, key: str) -> Json:
    found4: list[ipaddress.IPv4Network] = []
    found6: list[ipaddress.IPv6Network] = []
    for index, text in enumerate(fields.strings(key)):
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            fields.fail(f"{key}[{index}]", f"must be a network such as 192.0.2.0/24, not {text!r}")
        if isinstance(network, ipaddress.IPv4Network):
            found4.append(network)
        else:
            found6.append(network)
    collapse = ipaddress.collapse_addresses
    return [*map(str, collapse(found4)), *map(str, collapse(found6))]


def _interfaces(fields: Fields, key: str) -> Json:
    names = fields.strings(key)
    for index, name in enumerate(names):
        if re.fullmatch(_INTERFACE, name) is None:
            fields.fail(
                f"{key}[{index}]", f"must be an interface such as eth0 or eth*, not {name!r}"
            )
    return [*dict.fromkeys(names)]


def finish_rule(fields: Fields, item: dict[str, Json]) -> dict[str, Json]:
    """A whole rule in normal form; *fields* is for errors."""
    for key in ("ports", "from", "interfaces"):
        if item.get(key) == []:
            fields.fail(key, "is empty: leave it out for all, or the whole rule")
    protocol = str(item.get("protocol") or "")
    ports = item.get("ports")
    if isinstance(ports, list):
        if protocol not in ("", *WITH_PORTS):
            fields.fail("ports", f"{protocol} has no ports")
        item = {**item, "ports": [*_merged([str(p) for p in ports], protocol or "tcp")]}
        item.pop("protocol", None)
    return {"action": "allow", "to": "machine", **item}


def _merged(texts: list[str], protocol: str) -> list[str]:
    """*texts* as ranges that neither overlap nor touch, protocol by protocol."""
    ranges: dict[str, list[tuple[int, int]]] = {}
    for text in texts:
        numbers, _, own = text.partition("/")
        first, _, last = numbers.partition("-")
        ranges.setdefault(own or protocol, []).append((int(first), int(last or first)))
    found = []
    for name, items in ranges.items():
        merged: list[tuple[int, int]] = []
        for low, high in sorted(items):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        found += [f"{f'{low}-{high}' if high > low else low}/{name}" for low, high in merged]
    return found


ACTION = choice("allow", "drop", "reject")
POLICY = choice("drop", "reject", "accept")
PROTOCOL = choice(*PROTOCOLS)
TO = choice("machine", "containers")
PORTS = Kind("list of PORT[-PORT][/PROTOCOL]", _LIST, _ports)
NETWORKS = Kind("list of networks", _LIST, _networks)
INTERFACES = Kind("list of interfaces, * at the end for any", _LIST, _interfaces)
