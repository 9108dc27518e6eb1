"""Routes and rules that are wanted, with interfaces by name. Pure."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from orlop.services.network.model import PROTOCOL, WantedRoute
from orlop.services.settings import integer_setting, text_setting
from orlop.wire.netlink import route, rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.services.network.model import WantedLink

FIRST_PRIORITY = 1000
_METRIC_V6 = 1024
"""What the kernel makes of no metric."""


def identity(this: route.Route) -> tuple[object, ...]:
    """What two routes cannot have in common."""
    return (this.family, this.destination, this.prefix_length, this.table, metric_of(this))


def metric_of(this: route.Route) -> int:
    """The metric, as the kernel has it."""
    return this.metric or (_METRIC_V6 if this.family == socket.AF_INET6 else 0)


def read(
    settings: Mapping[str, object],
    entries: Mapping[str, Mapping[str, object]],
    links: Mapping[str, WantedLink],
    names: Mapping[str, str],
    problems: list[str],
) -> tuple[tuple[WantedRoute, ...], tuple[rule.Rule, ...]]:
    """The routes and rules of *settings*; *names* has what labels stand for."""
    found = [
        _gateway(links[name], gateway)
        for name, entry in entries.items()
        for key in ("gateway", "gateway6")
        if name in links and (gateway := text_setting(entry, key))
    ]
    found += [_item_route(item, names) for item in _maps(settings, "routes")]
    for link in links.values():
        found += _to_peers(link)
    unique: dict[tuple[object, ...], WantedRoute] = {}
    problems += [
        f"two routes to {text(wanted.route)} have the same metric: the first counts"
        for wanted in found
        if unique.setdefault(identity(wanted.route), wanted) != wanted
    ]
    rules = [
        _item_rule(item, index, names, family)
        for index, item in enumerate(_maps(settings, "rules"))
        for family in _families(item)
    ]
    return tuple(unique.values()), tuple(rules)


def _maps(settings: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    value = settings.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _gateway(link: WantedLink, gateway: str) -> WantedRoute:
    address = ipaddress.ip_address(gateway)
    networks = [ipaddress.ip_interface(text).network for text in link.addresses]
    same = [network for network in networks if network.version == address.version]
    # Clouds give a /32 and a router beside it.
    outside = bool(same) and not address.is_link_local and not any(address in n for n in same)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return WantedRoute(
        route.Route(
            *(family, b"", 0, 0, address.packed),
            protocol=PROTOCOL,
            metric=link.metric,
            on_link=outside,
        ),
        link.name,
    )


def _to_peers(link: WantedLink) -> list[WantedRoute]:
    """What the peers of a tunnel may send is also where they are reached, but not everything."""
    peers = link.wireguard.peers if link.wireguard is not None else ()
    networks = sorted({text for peer in peers for text in peer.allowed if not text.endswith("/0")})
    own = {str(ipaddress.ip_interface(text).network) for text in link.addresses}
    return [
        WantedRoute(_route_to(text, protocol=PROTOCOL), link.name)
        for text in networks
        if text not in own
    ]


def _route_to(text: str, *, gateway: bytes = b"", protocol: int) -> route.Route:
    network = ipaddress.ip_network(text)
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    destination = network.network_address.packed if network.prefixlen else b""
    return route.Route(family, destination, network.prefixlen, 0, gateway, protocol=protocol)


def _item_route(item: Mapping[str, object], names: Mapping[str, str]) -> WantedRoute:
    gateway, source = (_packed(text_setting(item, key)) for key in ("via", "source"))
    to = text_setting(item, "to")
    if to == "default":
        to = "0.0.0.0/0" if len(gateway or source) == 4 else "::/0"
    base = _route_to(to, gateway=gateway, protocol=PROTOCOL)
    label = text_setting(item, "interface")
    return WantedRoute(
        route.Route(
            *(base.family, base.destination, base.prefix_length, 0, gateway),
            table=integer_setting(item, "table", route.TABLE_MAIN),
            protocol=PROTOCOL,
            metric=integer_setting(item, "metric", 0),
            kind=route.KINDS[text_setting(item, "type") or "unicast"],
            source=source,
            on_link=item.get("on_link") is True,
            mtu=integer_setting(item, "mtu", 0),
        ),
        names.get(label, label),
    )


def _packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed if text else b""


def _families(item: Mapping[str, object]) -> list[int]:
    """A rule that speaks of no address is one for each version."""
    said = [text_setting(item, key) for key in ("from", "to")]
    said = [text for text in said if text and text != "default"]
    if not said:
        return [socket.AF_INET, socket.AF_INET6]
    return [socket.AF_INET6 if ":" in said[0] else socket.AF_INET]


def _item_rule(
    item: Mapping[str, object], index: int, names: Mapping[str, str], family: int
) -> rule.Rule:
    source, source_length = _network(text_setting(item, "from"))
    destination, destination_length = _network(text_setting(item, "to"))
    mark, _, mask = text_setting(item, "mark").partition("/")
    iif, oif = text_setting(item, "iif"), text_setting(item, "oif")
    return rule.Rule(
        family,
        table=integer_setting(item, "table", 0),
        priority=integer_setting(item, "priority", FIRST_PRIORITY + index),
        source=source,
        source_length=source_length,
        destination=destination,
        destination_length=destination_length,
        input=names.get(iif, iif),
        output=names.get(oif, oif),
        mark=int(mark, 0) if mark else 0,
        mark_mask=int(mask, 0) if mask else 0,
        kind=rule.KINDS[text_setting(item, "type") or "lookup"],
        protocol=PROTOCOL,
    )


def _network(text: str) -> tuple[bytes, int]:
    if text in ("", "default"):
        return b"", 0
    network = ipaddress.ip_network(text)
    if not network.prefixlen:
        return b"", 0
    return network.network_address.packed, network.prefixlen


def text(this: route.Route) -> str:
    """The destination, as people write it."""
    if not this.destination:
        return "default" if not this.prefix_length else f"/{this.prefix_length}"
    return f"{ipaddress.ip_address(this.destination)}/{this.prefix_length}"
