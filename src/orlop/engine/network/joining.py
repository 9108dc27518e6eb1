"""Which networks a container joins, in which order, and with what there. Pure but for the pools."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.container.endpoints import EndpointConfig, PortBinding
from orlop.engine.network.ipam import Pool, parse_address, parse_subnet
from orlop.engine.network.model import IFACE_PREFIX, INTERFACE_NAME, Driver, Endpoint
from orlop.lib.errors import InvalidArgument, OrlopError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.network.model import Network

BRIDGE_MODES = ("bridge", "default", "")
CONTAINER_MODE = "container:"


def is_own(mode: str) -> bool:
    """Whether a container of this network mode has interfaces of its own to be given."""
    return mode not in ("host", "none") and not mode.startswith(CONTAINER_MODE)


def wanted_endpoints(config: ContainerConfig) -> list[EndpointConfig]:
    """The networks of a container, the one of its mode first, the others by name."""
    if not is_own(config.network):
        return []
    mode = "bridge" if config.network in BRIDGE_MODES else config.network
    if config.networking.endpoints is None:
        return [EndpointConfig(network=mode, mac=config.networking.mac)]
    asked = {endpoint.network: endpoint for endpoint in map(_by_name, config.networking.endpoints)}
    first = asked.pop(mode, None)
    if first is not None and config.networking.mac and not first.mac:
        first = replace(first, mac=config.networking.mac)
    rest = [asked[name] for name in sorted(asked)]
    return rest if first is None else [first, *rest]


def _by_name(endpoint: EndpointConfig) -> EndpointConfig:
    """Docker's CLI calls the network `default` here too if it was not told another."""
    return replace(endpoint, network="bridge") if endpoint.network == "default" else endpoint


class NetworkPools:
    """A network with its addresses."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._pools = [Pool(pool) for pool in network.pools]

    def gateways(self) -> list[tuple[str, int]]:
        """Addresses of the bridge, with prefix lengths."""
        return [(pool.gateway, pool.subnet.prefixlen) for pool in self._pools if pool.gateway]

    def take(self, version: int, wanted: str) -> tuple[str, int, str]:
        """An address, its prefix length and gateway; *wanted* if not empty.

        Raises:
            OrlopError: it is somebody's, or none is left.
        """
        pools = [pool for pool in self._pools if pool.subnet.version == version]
        if wanted:
            pools = [pool for pool in pools if _is_inside(wanted, pool)]
            if not pools:
                raise InvalidArgument(
                    "invalid config for network "
                    f"{self.network.name}: no configured subnet or ip-range contain the "
                    f"IP address {wanted[:60]}"
                )
            pool = pools[0]
            return pool.take(wanted), pool.subnet.prefixlen, pool.gateway
        failure: OrlopError = InvalidArgument("no subnet of that family")
        for pool in pools:
            try:
                return pool.take_any(), pool.subnet.prefixlen, pool.gateway
            except OrlopError as error:
                failure = error
        raise failure

    def keep(self, endpoint: Endpoint) -> None:
        """Take again what a container that was found running has."""
        for text in (endpoint.ipv4, endpoint.ipv6):
            for pool in self._pools:
                if text and _is_inside(text, pool):
                    try:
                        pool.take(text)
                    except OrlopError:
                        continue

    def give_back(self, endpoint: Endpoint) -> None:
        """Its addresses are free."""
        for text in (endpoint.ipv4, endpoint.ipv6):
            for pool in self._pools:
                if text and _is_inside(text, pool):
                    pool.give_back(text)


def _is_inside(text: str, pool: Pool) -> bool:
    from orlop.engine.network.ipam import parse_address

    return parse_address(text) in pool


def make_endpoint(
    pools: NetworkPools,
    wanted: EndpointConfig,
    *,
    number: int,
    names: tuple[str, ...],
) -> Endpoint:
    """An endpoint with addresses taken; *number* is that of its interface.

    Raises:
        OrlopError: the addresses asked for cannot be had.
    """
    network = pools.network
    check_allowed(network, wanted)
    ipv4, prefix4, gateway4 = pools.take(4, wanted.ipv4) if network.ipv4 else ("", 0, "")
    partial = Endpoint(id="", network_id="", network="", interface="", ipv4=ipv4)
    try:
        ipv6, prefix6, gateway6 = pools.take(6, wanted.ipv6) if network.ipv6 else ("", 0, "")
    except OrlopError:
        pools.give_back(partial)
        raise
    is_bridge = network.driver is Driver.BRIDGE
    has_gateway = not network.internal
    prefix = network.option(IFACE_PREFIX, "eth")
    return Endpoint(
        id=os.urandom(32).hex(),
        network_id=network.id,
        network=network.name,
        interface=dict(wanted.options).get(INTERFACE_NAME) or f"{prefix}{number}",
        host_interface=f"veth{os.urandom(4).hex()[:7]}" if is_bridge else "",
        mac="" if network.driver is Driver.IPVLAN else wanted.mac.lower() or choose_mac(ipv4),
        ipv4=ipv4,
        prefix4=prefix4,
        gateway4=gateway4 if has_gateway else "",
        ipv6=ipv6,
        prefix6=prefix6,
        gateway6=gateway6 if has_gateway else "",
        link_local=wanted.link_local,
        names=names,
    )


def check_allowed(network: Network, wanted: EndpointConfig) -> None:
    """Refuse what the network cannot give.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    if network.is_default_bridge:
        if wanted.ipv4 or wanted.ipv6:
            raise InvalidArgument(
                "user specified IP address is supported on user defined networks only"
            )
        if wanted.aliases:
            raise InvalidArgument(
                "network-scoped alias is supported only for containers in user defined networks"
            )


def check_wanted(network: Network, wanted: EndpointConfig) -> None:
    """Refuse at its creation what a container could not have in *network* at its start.

    Raises:
        InvalidArgument: in dockerd's words, all reasons together.
    """
    reasons = []
    try:
        check_allowed(network, wanted)
    except InvalidArgument as error:
        reasons.append(str(error))
    subnets = [parse_subnet(pool.subnet) for pool in network.pools]
    for text in filter(None, (wanted.ipv4, wanted.ipv6)):
        address = parse_address(text)
        if not any(address.version == each.version and address in each for each in subnets):
            reasons.append(f"no configured subnet or ip-range contain the IP address {text}")
    if reasons:
        lines = "\n".join(f"* {reason}" for reason in reasons)
        raise InvalidArgument(
            f"invalid config for network {network.name}: invalid endpoint settings:\n{lines}"
        )


def choose_mac(ipv4: str) -> str:
    """An address from the one above it: who has its IP address has its MAC address, too."""
    if ipv4:
        octets = [int(part) for part in ipv4.split(".")]
        return ":".join(f"{octet:02x}" for octet in (2, 0x42, *octets))
    return ":".join(f"{octet:02x}" for octet in b"\x02\x42" + os.urandom(4))


def gateway_endpoint(
    endpoints: Sequence[Endpoint], wanted: Iterable[EndpointConfig], version: int
) -> Endpoint | None:
    """Through which a container reaches the world: highest priority, then first by name."""
    priorities = {endpoint.network: endpoint.gateway_priority for endpoint in wanted}

    def rank(endpoint: Endpoint) -> tuple[int, int, str]:
        both = bool(endpoint.gateway4) and bool(endpoint.gateway6)
        priority = priorities.get(endpoint.network, priorities.get(endpoint.network_id, 0))
        return (-priority, -int(both), endpoint.network)

    able = [e for e in endpoints if (e.gateway4 if version == 4 else e.gateway6)]
    return min(able, key=rank) if able else None


def wanted_ports(config: ContainerConfig) -> list[PortBinding]:
    """What a container publishes, in the order of its ports."""
    networking = config.networking
    bindings = list(networking.ports)
    if networking.publish_all:
        bound = {(binding.protocol, binding.container_port) for binding in bindings}
        for text in networking.exposed:
            number, _, protocol = text.partition("/")
            if (protocol, int(number)) not in bound:
                bindings.append(PortBinding(protocol, int(number)))
    return sorted(bindings, key=lambda item: (item.container_port, item.protocol))


def endpoint_names(config: ContainerConfig, id_: str, wanted: EndpointConfig) -> tuple[str, ...]:
    """What a container is called in a network that has names."""
    names = [config.name, *wanted.aliases, id_[:12]]
    if config.hostname:
        names.append(config.hostname)
    return tuple(dict.fromkeys(names))
