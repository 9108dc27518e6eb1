"""`network-config` as cloud-init's NoCloud has it: version 1, and version 2 (netplan).

Taken over: addresses, default routes, DHCP, MTU, DNS. The rest is named in a warning.
Source: cloud-init's documents "Networking config Version 1" and "Version 2".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.wire.cloud.nics import Nic, Nics, cidr, is_default
from orlop.wire.cloud.values import dig, items, mapping, number, text, texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_V2_KNOWN = frozenset(
    {
        *("match", "set-name", "dhcp4", "dhcp6", "accept-ra", "addresses", "gateway4", "gateway6"),
        *("mtu", "nameservers", "routes", "optional", "critical", "renderer", "link-local"),
        *("dhcp-identifier", "ipv6-privacy"),
    }
)
_V2_UNKNOWN_KINDS = ("bonds", "bridges", "vlans", "wifis", "tunnels", "vrfs", "modems", "dummies")


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
            case "physical" | "loopback":
                if kind == "physical":
                    found.nics.append(_physical(entry, found))
            case "nameserver":
                found.nameservers += texts(entry, "address")
                found.search += texts(entry, "search")
            case "route":
                destination = text(entry, "destination") or text(entry, "address")
                _warn_route(found, "network-config", destination)
            case _:
                found.warnings.append(
                    f"network-config: {kind or 'an entry without a type'} {name} is not supported"
                )
    return found


def _physical(entry: object, found: Nics) -> Nic:
    name = text(entry, "name")
    nic = Nic(name=name, mac=text(entry, "mac_address").lower(), mtu=number(entry, "mtu"))
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
            found.warnings.append(f"network-config: {name}: subnet type {kind!r} is not supported")
        found.nameservers += texts(subnet, "dns_nameservers")
        found.search += texts(subnet, "dns_search")
        for route in items(subnet, "routes"):
            destination = text(route, "network") or text(route, "destination")
            _add_route(nic, destination, text(route, "netmask"), text(route, "gateway"), found)
    if automatic or static:
        nic.dhcp = automatic
    return nic


def _version_2(root: object) -> Nics:
    found = Nics()
    for kind in _V2_UNKNOWN_KINDS:
        found.warnings += [
            f"network-config: {kind}: {name} is not supported" for name in mapping(root, kind)
        ]
    for name, entry in mapping(root, "ethernets").items():
        found.nics.append(_ethernet(name, mapping(entry), found))
    return found


def _ethernet(name: str, entry: Mapping[str, object], found: Nics) -> Nic:
    match_name = text(entry, "match", "name")
    nic = Nic(
        name=match_name or name,
        mac=text(entry, "match", "macaddress").lower(),
        mtu=number(entry, "mtu"),
    )
    found.warnings += list(_refusals(name, entry, match_name))
    if match_name and set("*?[") & set(match_name):
        nic.name = ""
        return nic
    for item in items(entry, "addresses"):
        # Also `192.0.2.7/24: {label: x}`.
        address = next(iter(item), "") if isinstance(item, dict) else item
        _add_address(nic, str(address), "", found)
    for key in ("gateway4", "gateway6"):
        if gateway := text(entry, key):
            nic.add_gateway(gateway)
    for route in items(entry, "routes"):
        _add_route(nic, text(route, "to"), "", text(route, "via"), found)
    found.nameservers += texts(entry, "nameservers", "addresses")
    found.search += texts(entry, "nameservers", "search")
    said = [entry[key] for key in ("dhcp4", "dhcp6") if key in entry]
    if said or nic.addresses:
        nic.dhcp = any(_is_true(value) for value in said)
    return nic


def _refusals(name: str, entry: Mapping[str, object], match_name: str) -> Iterator[str]:
    for key in entry:
        if key not in _V2_KNOWN and not key.endswith("-overrides"):
            yield f"network-config: {name}.{key} is not supported"
    if set("*?[") & set(match_name):
        yield f"network-config: {name}: match by the pattern {match_name} is not supported"
    if text(entry, "match", "driver"):
        yield f"network-config: {name}: match by driver is not supported"
    wanted = text(entry, "set-name")
    if wanted and wanted != (match_name or name):
        yield f"network-config: {name}: interfaces are not renamed, {wanted} keeps its name"


def _is_true(value: object) -> bool:
    return value is True or str(value).lower() in ("true", "yes", "on")


def _add_address(nic: Nic, address: str, netmask: str, found: Nics) -> None:
    try:
        nic.addresses.append(cidr(address, netmask))
    except ValueError:
        found.warnings.append(f"network-config: {nic.name}: {address!r} is no address, ignoring it")


def _add_route(nic: Nic, destination: str, netmask: str, gateway: str, found: Nics) -> None:
    if gateway and is_default(destination, netmask):
        nic.add_gateway(gateway)
    else:
        _warn_route(found, f"network-config: {nic.name}", destination)


def _warn_route(found: Nics, where: str, destination: str) -> None:
    found.warnings.append(f"{where}: the route to {destination or '?'} is not supported")
