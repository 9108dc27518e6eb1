"""`network-config` as cloud-init's NoCloud has it: version 1, and version 2 (netplan).

Taken over: addresses, routes and rules, DHCP, MTU, DNS, bonds, bridges, VLANs, tunnels by WireGuard
and VXLAN. The rest is named in
a warning. Source: cloud-init's documents "Networking config Version 1" and "Version 2".
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from orlop.wire.cloud import tunnels
from orlop.wire.cloud.nic_options import translate
from orlop.wire.cloud.nics import Nic, Nics, cidr, is_default, route
from orlop.wire.cloud.values import dig, items, mapping, number, text, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop.wire.compose_model import Json

_V2_KNOWN = frozenset(
    {
        *("match", "set-name", "dhcp4", "dhcp6", "accept-ra", "addresses", "gateway4", "gateway6"),
        *("mtu", "nameservers", "routes", "optional", "critical", "renderer", "link-local"),
        *("dhcp-identifier", "ipv6-privacy", "macaddress", "routing-policy"),
        *("interfaces", "parameters", "id", "link"),
    }
)
_V2_KINDS = {"ethernets": "", "bonds": "bond", "bridges": "bridge", "vlans": "", "tunnels": ""}
_V2_UNKNOWN_KINDS = ("wifis", "vrfs", "modems", "dummies")


def parse_network_config(data: object) -> Nics:
    """The interfaces of *data*, which may be inside a key `network`."""
    inner = dig(data, "network")
    root = inner if inner is not None else data
    match number(root, "version"):
        case 1:
            return _version_1(root)
        case 2:
            return _version_2(root)
        case None if not root:
            return Nics()
        case _:
            version = dig(root, "version")
            return Nics(warnings=[f"network-config: version {version!r} is not known, ignoring it"])


def _version_1(root: object) -> Nics:
    found = Nics()
    for entry in items(root, "config"):
        kind = text(entry, "type")
        name = text(entry, "name")
        match kind:
            case "physical" | "bond" | "bridge" | "vlan":
                found.nics.append(_interface(entry, kind, found))
            case "loopback":
                pass
            case "nameserver":
                found.nameservers += texts(entry, "address")
                found.search += texts(entry, "search")
            case "route":
                destination = text(entry, "destination") or text(entry, "address")
                _add_route(None, entry, destination, text(entry, "gateway"), found)
            case _:
                found.warnings.append(
                    f"network-config: {kind or 'an entry without a type'} {name} is not supported"
                )
    return found


def _interface(entry: object, kind: str, found: Nics) -> Nic:
    name = text(entry, "name")
    mac = text(entry, "mac_address").lower()
    nic = Nic(name=name, mtu=number(entry, "mtu"), identity=name)
    if kind == "physical":
        nic.mac = mac
    elif mac:
        nic.more["mac"] = mac
    if kind == "vlan":
        nic.parent, nic.vlan_id = text(entry, "vlan_link"), number(entry, "vlan_id")
    elif kind != "physical":
        nic.kind, nic.members = kind, texts(entry, f"{kind}_interfaces")
        nic.options = translate(kind, mapping(entry, "params"), _warner(found, name))
    _add_subnets(nic, entry, found)
    return nic


def _add_subnets(nic: Nic, entry: object, found: Nics) -> None:
    automatic = static = False
    for subnet in items(entry, "subnets"):
        kind = text(subnet, "type")
        if kind in ("dhcp", "dhcp4", "dhcp6") or kind.startswith("ipv6_"):
            automatic = True
        elif kind in ("static", "static6") or text(subnet, "address"):
            static = True
            _add_address(nic, text(subnet, "address"), text(subnet, "netmask"), found)
            if gateway := text(subnet, "gateway"):
                nic.add_gateway(gateway)
        elif kind == "manual":
            static = True
        else:
            found.warnings.append(
                f"network-config: {nic.name}: subnet type {kind!r} is not supported"
            )
        found.nameservers += texts(subnet, "dns_nameservers")
        found.search += texts(subnet, "dns_search")
        for item in items(subnet, "routes"):
            destination = text(item, "network") or text(item, "destination")
            _add_route(nic, item, destination, text(item, "gateway"), found)
    if automatic or static:
        nic.dhcp = automatic


def _warner(found: Nics, name: str) -> Callable[[str], None]:
    return lambda said: found.warnings.append(f"network-config: {name}: {said}")


def _version_2(root: object) -> Nics:
    found = Nics()
    for kind in _V2_UNKNOWN_KINDS:
        found.warnings += [
            f"network-config: {kind}: {name} is not supported" for name in mapping(root, kind)
        ]
    for section, kind in _V2_KINDS.items():
        for name, value in mapping(root, section).items():
            entry = mapping(value)
            nic = _ethernet(name, entry, found) if section == "ethernets" else Nic(name=name)
            nic.identity, nic.kind = name, kind
            if kind:
                nic.members = texts(entry, "interfaces")
                nic.options = translate(kind, mapping(entry, "parameters"), _warner(found, name))
            elif section == "vlans":
                nic.parent, nic.vlan_id = text(entry, "link"), number(entry, "id")
            elif section == "tunnels":
                nic.tunnel = tunnels.translate(entry)
                if not nic.tunnel:
                    found.warnings.append(f"network-config: tunnels: {name} is not supported")
                    continue
                entry = {key: value for key, value in entry.items() if key not in tunnels.KNOWN}
            _common(nic, name, entry, found)
            found.nics.append(nic)
    return found


def _ethernet(name: str, entry: Mapping[str, object], found: Nics) -> Nic:
    """The card that is meant: by address where there is one, else by a pattern, else by name."""
    pattern, driver = text(entry, "match", "name"), texts(entry, "match", "driver")
    mac = text(entry, "match", "macaddress").lower()
    wanted = text(entry, "set-name")
    if wanted and wanted != (pattern or name):
        found.warnings.append(
            f"network-config: {name}: interfaces are not renamed, {wanted} keeps its name"
        )
    if mac or (not driver and not set("*?[") & set(pattern)):
        return Nic(name=pattern or name, mac=mac)
    match: dict[str, Json] = {"name": pattern} if pattern else {}
    if driver:
        match["driver"] = driver[0]
    return Nic(name=name, match=match)


def _common(nic: Nic, name: str, entry: Mapping[str, object], found: Nics) -> None:
    """What all kinds may have."""
    found.warnings += [
        f"network-config: {name}.{key} is not supported"
        for key in entry
        if key not in _V2_KNOWN and not key.endswith("-overrides")
    ]
    nic.mtu = number(entry, "mtu")
    for item in items(entry, "addresses"):
        # Also `192.0.2.7/24: {label: x}`.
        address = next(iter(item), "") if isinstance(item, dict) else item
        _add_address(nic, str(address), "", found)
    for key in ("gateway4", "gateway6"):
        if gateway := text(entry, key):
            nic.add_gateway(gateway)
    for item in items(entry, "routes"):
        _add_route(nic, item, text(item, "to"), text(item, "via"), found)
    for item in items(entry, "routing-policy"):
        _add_rule(nic, item, found)
    found.nameservers += texts(entry, "nameservers", "addresses")
    found.search += texts(entry, "nameservers", "search")
    _add_automatic(nic, entry)
    if mac := text(entry, "macaddress").lower():
        nic.more["mac"] = mac


def _add_automatic(nic: Nic, entry: Mapping[str, object]) -> None:
    said = [entry[key] for key in ("dhcp4", "dhcp6") if key in entry]
    if said or nic.addresses:
        nic.dhcp = any(_is_true(value) for value in said)
    if "accept-ra" in entry and _is_true(entry["accept-ra"]) is not bool(nic.dhcp):
        nic.more["ra"] = _is_true(entry["accept-ra"])
    if nic.dhcp and "dhcp4" in entry and not _is_true(entry["dhcp4"]):
        nic.dhcp = False
        nic.more |= {"dhcp6": True, "ra": True}
    if _is_true(entry.get("optional")) and (nic.dhcp or nic.addresses):
        nic.more["optional"] = True


def _is_true(value: object) -> bool:
    return value is True or str(value).lower() in ("true", "yes", "on")


def _add_address(nic: Nic, address: str, netmask: str, found: Nics) -> None:
    try:
        nic.addresses.append(cidr(address, netmask))
    except ValueError:
        found.warnings.append(f"network-config: {nic.name}: {address!r} is no address, ignoring it")


def _add_route(nic: Nic | None, item: object, destination: str, gateway: str, found: Nics) -> None:
    """A default route of no further particulars is the gateway of its interface."""
    netmask = text(item, "netmask") or text(item, "prefix")
    more = _particulars(item)
    is_plain = bool(gateway) and is_default(destination, netmask) and not more
    if nic is not None and is_plain and not (nic.gateway6 if ":" in gateway else nic.gateway):
        nic.add_gateway(gateway)
        return
    if is_default(destination, netmask):
        destination = "default"
    try:
        (found if nic is None else nic).routes.append(route(destination, netmask, gateway, more))
    except ValueError:
        found.warnings.append(f"network-config: no route to {destination!r}, ignoring it")


def _particulars(item: object) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for key in ("metric", "table", "mtu"):
        if value := number(item, key):
            found[key] = value
    if _is_true(dig(item, "on-link")):
        found["on_link"] = True
    if text(item, "type") in ("blackhole", "unreachable", "prohibit"):
        found["type"] = text(item, "type")
    if source := text(item, "from"):
        found["source"] = source
    return found


def _add_rule(nic: Nic, item: object, found: Nics) -> None:
    rule: dict[str, Json] = {}
    for key in ("table", "priority"):
        if value := number(item, key):
            rule[key] = value
    if mark := number(item, "mark"):
        rule["mark"] = str(mark)
    try:
        for key in ("from", "to"):
            if network := text(item, key):
                rule[key] = str(ipaddress.ip_network(network, strict=False))
    except ValueError:
        rule = {}
    if "table" in rule and {"from", "to", "mark"} & set(rule):
        found.rules.append(rule)
    else:
        found.warnings.append(f"network-config: {nic.name}: a routing-policy is not supported")
