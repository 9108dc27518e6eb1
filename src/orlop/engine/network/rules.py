"""The engine's nftables table: one frame that never changes, filled through its sets and maps.

What a network or a published port adds is an element, so a start costs the same with one container
as with a thousand, and the whole table can be written anew in one transaction from the rows that
are known. Pure: text for `nft -f`, bytes for netlink.

The chains, and why:

- `guard` (raw): nobody on a bridge talks to the host's 127.0.0.0/8, which `route_localnet` on the
  bridges would let them do.
- `publish` (nat): what is for an address of this host and a published port goes to the container.
  The source address stays as it is.
- `forward`: to a container comes what belongs to a connection of its own, what was published, and
  what its own network sends; internal networks have no other traffic at all. What merely passes
  through this host is dropped where the engine was the one to switch forwarding on.
- `source` (nat): masquerading of what leaves for the world, of a published port used from the
  very network that it leads to, and of 127.0.0.1.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine.network.model import MASQUERADE, Driver
from orlop.wire.netlink import nftables
from orlop.wire.netlink.nftables import Element

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop.engine.network.model import Endpoint, Network, PublishedPort

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}

_FRAME = """
table inet {table}
delete table inet {table}
table inet {table} {{
  comment "containers' networks; written by the engine, changes are undone"
  set bridges {{ type ifname; {bridges}}}
  set internal {{ type ifname; {internal}}}
  set same {{ type ifname . ifname; {same}}}
  set masquerade4 {{ type ifname; {masquerade4}}}
  set masquerade6 {{ type ifname; {masquerade6}}}
  map any4 {{ type inet_proto . inet_service : ipv4_addr . inet_service; {any4}}}
  map any6 {{ type inet_proto . inet_service : ipv6_addr . inet_service; {any6}}}
  map one4 {{
    type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service
    {one4}
  }}
  map one6 {{
    type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service
    {one6}
  }}
  chain guard {{
    type filter hook prerouting priority raw; policy accept
    iifname @bridges ip daddr 127.0.0.0/8 drop
  }}
  chain publish {{
    meta l4proto != {{ tcp, udp, sctp }} return
    dnat ip to meta l4proto . ip daddr . th dport map @one4
    dnat ip to meta l4proto . th dport map @any4
    dnat ip6 to meta l4proto . ip6 daddr . th dport map @one6
    dnat ip6 to meta l4proto . th dport map @any6
  }}
  chain arriving {{
    type nat hook prerouting priority dstnat; policy accept
    fib daddr type local jump publish
  }}
  chain local {{
    type nat hook output priority dstnat; policy accept
    fib daddr type local ip6 daddr != ::1 jump publish
    fib daddr type local meta nfproto ipv4 jump publish
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept
    iifname . oifname @same accept
    iifname @internal drop
    oifname @internal drop
    oifname @bridges ct state established,related accept
    oifname @bridges ct status dnat accept
    oifname @bridges drop
    iifname @bridges accept
    {router}
  }}
  chain source {{
    type nat hook postrouting priority srcnat; policy accept
    iifname . oifname @same ct status dnat masquerade
    oifname @bridges ip saddr 127.0.0.0/8 masquerade
    oifname @bridges return
    iifname @masquerade4 meta nfproto ipv4 masquerade
    iifname @masquerade6 meta nfproto ipv6 masquerade
  }}
}}
"""
_SETS = (
    "bridges",
    "internal",
    "same",
    "masquerade4",
    "masquerade6",
    "any4",
    "any6",
    "one4",
    "one6",
)


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a key or value, for nft and for the kernel."""

    text: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Row:
    """An element of the set or map *set*."""

    set: str
    key: tuple[Field, ...]
    value: tuple[Field, ...] = ()

    @property
    def text(self) -> str:
        key = " . ".join(field.text for field in self.key)
        value = " . ".join(field.text for field in self.value)
        return f"{key} : {value}" if value else key

    @property
    def element(self) -> Element:
        key = nftables.concatenate(*(field.data for field in self.key))
        return Element(self.set, key, nftables.concatenate(*(field.data for field in self.value)))


def _name(name: str) -> Field:
    return Field(f'"{name}"', nftables.interface_name(name))


def _protocol(name: str) -> Field:
    return Field(name, PROTOCOLS[name].to_bytes(1))


def _port(number: int) -> Field:
    return Field(str(number), number.to_bytes(2, "big"))


def _address(text: str) -> Field:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    return Field(text, socket.inet_pton(family, text))


def network_rows(network: Network) -> list[Row]:
    """What a network adds to the table; nothing unless it is a bridge."""
    if network.driver is not Driver.BRIDGE:
        return []
    name = _name(network.interface)
    rows = [Row("bridges", (name,)), Row("same", (name, name))]
    if network.internal:
        rows.append(Row("internal", (name,)))
    elif network.flag(MASQUERADE, default=True):
        rows += [Row("masquerade4", (name,)), Row("masquerade6", (name,))]
    return rows


def port_rows(ports: Iterable[PublishedPort], endpoint: Endpoint) -> list[Row]:
    """What published ports add, those that lead to an address of their own family.

    The others are relayed (`engine.network.relay`).
    """
    rows = []
    for port in ports:
        is_ipv6 = ":" in port.host_ip
        target = endpoint.ipv6 if is_ipv6 else endpoint.ipv4
        if not target:
            continue
        family = "6" if is_ipv6 else "4"
        value = (_address(target), _port(port.container_port))
        if port.host_ip in ("0.0.0.0", "::"):
            everywhere = (_protocol(port.protocol), _port(port.host_port))
            rows.append(Row(f"any{family}", everywhere, value))
        else:
            address = _address(port.host_ip)
            there = (_protocol(port.protocol), address, _port(port.host_port))
            rows.append(Row(f"one{family}", there, value))
    return rows


def plan_table(table: str, rows: Iterable[Row], *, closed_router: bool) -> str:
    """The whole table in nft's language: one transaction that replaces what there is of it.

    With *closed_router* what neither comes from nor goes to a container is not forwarded.
    """
    texts: dict[str, list[str]] = {name: [] for name in _SETS}
    for row in rows:
        texts[row.set].append(row.text)
    filled = {
        name: "elements = { " + ", ".join(dict.fromkeys(items)) + " }; " if items else ""
        for name, items in texts.items()
    }
    return _FRAME.format(table=table, router="drop" if closed_router else "", **filled)
