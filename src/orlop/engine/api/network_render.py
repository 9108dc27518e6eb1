"""Networks, and what containers have of them, as the Docker API shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.api.times import to_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.engine.container.container import Container
    from orlop.engine.container.endpoints import EndpointConfig, Networking
    from orlop.engine.network.model import Endpoint, Network, SandboxState
    from orlop.engine.network.networks import Networks


def network(
    known: Network, endpoints: list[tuple[str, Endpoint]], name_of: Callable[[str], str]
) -> dict[str, Any]:
    """`GET /networks/ID`; an element of the list has no *endpoints*."""
    return {
        "Name": known.name,
        "Id": known.id,
        "Created": to_text(known.created_ns),
        "Scope": "local",
        "Driver": known.driver.value,
        "EnableIPv4": known.ipv4,
        "EnableIPv6": known.ipv6,
        "IPAM": {
            "Driver": "default",
            "Options": None if known.ipam_options is None else dict(known.ipam_options),
            "Config": _pools(known),
        },
        "Internal": known.internal,
        "Attachable": known.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {
            id_: {
                "Name": name_of(id_),
                "EndpointID": endpoint.id,
                "MacAddress": endpoint.mac,
                "IPv4Address": f"{endpoint.ipv4}/{endpoint.prefix4}" if endpoint.ipv4 else "",
                "IPv6Address": f"{endpoint.ipv6}/{endpoint.prefix6}" if endpoint.ipv6 else "",
            }
            for id_, endpoint in endpoints
        },
        "Options": dict(known.options),
        "Labels": dict(known.labels),
    }


def _pools(known: Network) -> list[dict[str, Any]] | None:
    shown = []
    for pool in sorted(known.pools, key=lambda pool: ":" in pool.subnet):
        item: dict[str, Any] = {"Subnet": pool.subnet}
        if pool.ip_range:
            item["IPRange"] = pool.ip_range
        if pool.gateway and pool.gateway_given:
            item["Gateway"] = pool.gateway
        if pool.auxiliary:
            item["AuxiliaryAddresses"] = dict(pool.auxiliary)
        shown.append(item)
    return shown or (None if known.is_predefined else [])


def settings(container: Container) -> dict[str, Any]:
    """`NetworkSettings` of an inspected container."""
    networks = container.host.networks
    state = None if networks is None else networks.sandboxes.state_of(container.record.id)
    pid = container.record.pid
    shared = container.config.network in ("host", "none")
    own = f"/proc/{pid}/ns/net" if pid and not shared else ""
    main = (
        None if state is None else next((e for e in state.endpoints if e.network == "bridge"), None)
    )
    return {
        "Bridge": "",
        "SandboxID": container.record.id if own else "",
        "SandboxKey": own,
        "Ports": port_map(container.config.networking, state),
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        "EndpointID": main.id if main else "",
        **_addresses(main),
        "MacAddress": main.mac if main else "",
        "Networks": endpoints(container),
    }


def port_map(networking: Networking, state: SandboxState | None) -> dict[str, Any]:
    """`Ports`: where each port of a running container is published; null for one that is not."""
    if state is None:
        return {}
    shown: dict[str, Any] = dict.fromkeys(networking.exposed)
    for port in state.ports:
        key = f"{port.container_port}/{port.protocol}"
        published = shown.get(key) or []
        published.append({"HostIp": port.host_ip, "HostPort": str(port.host_port)})
        shown[key] = published
    return shown


def port_list(container: Container) -> list[dict[str, Any]]:
    """`Ports` of a listed container."""
    networks = container.host.networks
    state = None if networks is None else networks.sandboxes.state_of(container.record.id)
    if state is None:
        return []
    shown: list[dict[str, Any]] = []
    for key, published in port_map(container.config.networking, state).items():
        number, _, protocol = key.partition("/")
        plain = {"PrivatePort": int(number), "Type": protocol}
        if not published:
            shown.append(plain)
        shown += [
            {
                "IP": item["HostIp"],
                "PrivatePort": int(number),
                "PublicPort": int(item["HostPort"]),
                "Type": protocol,
            }
            for item in published or ()
        ]
    return shown


def port_bindings(networking: Networking) -> dict[str, Any]:
    """`HostConfig.PortBindings`: as it was asked for."""
    shown: dict[str, list[dict[str, str]]] = {}
    for binding in networking.ports:
        key = f"{binding.container_port}/{binding.protocol}"
        item = {"HostIp": binding.host_ip, "HostPort": binding.host_port}
        shown.setdefault(key, []).append(item)
    return shown


def endpoints(container: Container) -> dict[str, Any]:
    """`Networks`: by name, what was asked for and what a running container has."""
    networks = container.host.networks
    config = container.config
    if networks is None:
        from orlop.engine.api.render import network_id

        return {config.network: _endpoint(None, None, network_id(config.network))}
    from orlop.engine.container.endpoints import EndpointConfig
    from orlop.engine.network import joining

    if config.network in ("host", "none"):
        wanted = [EndpointConfig(network=config.network)]
    else:
        wanted = joining.wanted_endpoints(config)
    state = networks.sandboxes.state_of(container.record.id)
    shown = {}
    for item in wanted:
        name, id_ = _name_and_id(networks, item.network)
        current = None
        if state is not None:
            current = next((e for e in state.endpoints if e.network_id == id_), None)
        shown[name] = _endpoint(item, current, id_)
    return shown


def _name_and_id(networks: Networks, ref: str) -> tuple[str, str]:
    from orlop.lib.errors import OrlopError

    try:
        known = networks.find(ref)
    except OrlopError:
        return ref, ""
    return known.name, known.id


def _endpoint(
    wanted: EndpointConfig | None, current: Endpoint | None, network_id: str
) -> dict[str, Any]:
    ipam = None
    if wanted is not None and (wanted.ipv4 or wanted.ipv6 or wanted.link_local):
        asked: dict[str, Any] = {
            "IPv4Address": wanted.ipv4,
            "IPv6Address": wanted.ipv6,
            "LinkLocalIPs": list(wanted.link_local),
        }
        ipam = {key: value for key, value in asked.items() if value}
    return {
        "IPAMConfig": ipam,
        "Links": list(wanted.links) or None if wanted else None,
        "Aliases": list(wanted.aliases) or None if wanted else None,
        "MacAddress": current.mac if current else (wanted.mac if wanted else ""),
        "DriverOpts": dict(wanted.options) or None if wanted else None,
        "GwPriority": wanted.gateway_priority if wanted else 0,
        "NetworkID": network_id,
        "EndpointID": current.id if current else "",
        **_addresses(current),
        "DNSNames": list(current.names) or None if current else None,
    }


def _addresses(current: Endpoint | None) -> dict[str, Any]:
    return {
        "Gateway": current.gateway4 if current else "",
        "IPAddress": current.ipv4 if current else "",
        "IPPrefixLen": current.prefix4 if current else 0,
        "IPv6Gateway": current.gateway6 if current else "",
        "GlobalIPv6Address": current.ipv6 if current else "",
        "GlobalIPv6PrefixLen": current.prefix6 if current else 0,
    }
