"""OpenStack's `network_data.json`: links, the networks on them, and services.

Source: OpenStack Nova, doc/api_schemas/network_data.json.
"""

from __future__ import annotations

from orlop.wire.cloud.nics import Nic, Nics, cidr, is_default
from orlop.wire.cloud.values import items, number, text

_NO_CABLE = ("bond", "vlan")


def parse_network_data(data: object) -> Nics:
    """The interfaces of *data*."""
    found = Nics()
    nics: dict[str, Nic] = {}
    for link in items(data, "links"):
        identity, kind = text(link, "id"), text(link, "type")
        if kind in _NO_CABLE:
            found.warnings.append(f"network_data.json: {kind} {identity} is not supported")
            continue
        mac = text(link, "ethernet_mac_address").lower()
        nics[identity] = Nic(name=text(link, "name"), mac=mac, mtu=number(link, "mtu"))
    for network in items(data, "networks"):
        nic = nics.get(text(network, "link"))
        if nic is not None:
            _add_network(nic, network, found)
    found.nics += nics.values()
    found.nameservers += _name_servers(data)
    return found


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
    for route in items(network, "routes"):
        found.nameservers += _name_servers(route)
        destination, gateway = text(route, "network"), text(route, "gateway")
        if gateway and is_default(destination, text(route, "netmask")):
            nic.add_gateway(gateway)
        else:
            found.warnings.append(f"network_data.json: the route to {destination} is not supported")


def _name_servers(data: object) -> list[str]:
    services = items(data, "services")
    return [text(item, "address") for item in services if text(item, "type") == "dns"]
