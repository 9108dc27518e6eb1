"""OpenStack's `network_data.json`: links, the networks on them, and services.

Source: OpenStack Nova, doc/api_schemas/network_data.json.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.wire.cloud.nic_options import translate
from orlop.wire.cloud.nics import Nic, Nics, cidr, is_default, route
from orlop.wire.cloud.values import items, mapping, number, text, texts

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json


def parse_network_data(data: object) -> Nics:
    """The interfaces of *data*."""
    found = Nics()
    nics: dict[str, Nic] = {}
    for link in items(data, "links"):
        identity, kind = text(link, "id"), text(link, "type")
        mac = text(link, "ethernet_mac_address").lower()
        nic = Nic(text(link, "name"), mac, mtu=number(link, "mtu"), identity=identity)
        if kind == "bond":
            _become_bond(nic, link, found)
        elif kind == "vlan":
            nic.parent, nic.vlan_id = text(link, "vlan_link"), number(link, "vlan_id")
            if (other := text(link, "vlan_mac_address")) and nic.vlan_id is not None:
                nic.more["mac"] = other.lower()
        nics[identity] = nic
    for network in items(data, "networks"):
        if (on := nics.get(text(network, "link"))) is not None:
            _add_network(on, network, found)
    found.nics += nics.values()
    found.nameservers += _name_servers(data)
    return found


def _become_bond(nic: Nic, link: object, found: Nics) -> None:
    nic.kind, nic.members = "bond", texts(link, "bond_links")
    nic.name = nic.name or nic.identity
    if nic.mac:
        nic.more["mac"] = nic.mac
    given = {
        key: value
        for key, value in mapping(link).items()
        if key.startswith("bond_") and key != "bond_links"
    }
    nic.options = translate(
        "bond",
        given,
        lambda said: found.warnings.append(f"network_data.json: {nic.name}: {said}"),
    )


def _add_network(nic: Nic, network: object, found: Nics) -> None:
    kind = text(network, "type")
    found.nameservers += _name_servers(network)
    match kind:
        case "ipv4" | "static" | "ipv6" | "static6":
            nic.dhcp = nic.dhcp or False
            try:
                nic.addresses.append(cidr(text(network, "ip_address"), text(network, "netmask")))
            except ValueError:
                address = text(network, "ip_address")
                found.warnings.append(f"network_data.json: {address!r} is no address, ignoring it")
            if gateway := text(network, "gateway"):
                nic.add_gateway(gateway)
        case _ if kind.endswith("_dhcp") or kind.startswith("ipv6_"):
            nic.dhcp = True
        case _:
            found.warnings.append(f"network_data.json: network type {kind!r} is not supported")
    for item in items(network, "routes"):
        found.nameservers += _name_servers(item)
        _add_route(nic, item, found)


def _add_route(nic: Nic, item: object, found: Nics) -> None:
    destination, gateway = text(item, "network"), text(item, "gateway")
    netmask = text(item, "netmask")
    if gateway and is_default(destination, netmask):
        nic.add_gateway(gateway)
        return
    metric = number(item, "metric")
    more: dict[str, Json] = {"metric": metric} if metric else {}
    try:
        nic.routes.append(route(destination, netmask, gateway, more))
    except ValueError:
        found.warnings.append(f"network_data.json: no route to {destination!r}, ignoring it")


def _name_servers(data: object) -> list[str]:
    services = items(data, "services")
    return [text(item, "address") for item in services if text(item, "type") == "dns"]
