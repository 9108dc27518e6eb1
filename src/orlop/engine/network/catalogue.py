"""From a wish for a network to the network: names, drivers, options and subnets. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING

from orlop.engine.network import ipam
from orlop.engine.network.model import (
    BRIDGE_NAME,
    DEFAULT_BRIDGE,
    HOST_BINDING,
    ICC,
    MASQUERADE,
    MTU,
    Driver,
    Network,
    PoolConfig,
)
from orlop.lib.errors import Conflict, Forbidden, InvalidArgument, NotFound, NotImplementedYet
from orlop.wire.netlink import link

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop.engine.network.model import Options

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_INTERFACE = re.compile(r"[a-zA-Z0-9_@=+~^,.-]+")
"""Less than the kernel takes: it stands between quotes in the nftables script, and `%` and `*` have
a meaning of their own."""

_BRIDGE_OPTION = "com.docker.network.bridge."
_UNDERSTOOD = {
    f"{_BRIDGE_OPTION}gateway_mode_ipv4": ("nat", ""),
    f"{_BRIDGE_OPTION}gateway_mode_ipv6": ("nat", ""),
    f"{_BRIDGE_OPTION}inhibit_ipv4": ("false", "", "0"),
    f"{_BRIDGE_OPTION}trusted_host_interfaces": ("",),
    "com.docker.network.host_ipv4": ("",),
    "com.docker.network.host_ipv6": ("",),
}
"""dockerd's options whose other values mean what is not done here. Unknown ones are labels."""

MAX_NAME_LENGTH = 255
MAX_NETWORKS = 1000
MAX_POOLS = 16
MAX_MTU = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRequest:
    """What a client wants. An empty pool list: choose."""

    name: str
    driver: str = "bridge"
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    pools: tuple[PoolConfig, ...] = ()
    ipam_driver: str = "default"
    ipam_options: Options | None = None
    options: Options = ()
    labels: Options = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a new network has to fit into."""

    networks: Sequence[Network]
    used: Sequence[ipam.Subnet]
    """Subnets this host has routes or addresses for, that are not of a network of ours."""
    ula: str
    """The engine's own unique local IPv6 prefix."""
    pools: tuple[tuple[str, int], ...] = ()
    """Where subnets are taken from, instead of the usual ones."""


def default_bridge(
    id_: str, interface: str, subnet: str, mtu: int, around: Surroundings, created_ns: int
) -> Network:
    """The network that containers are in unless they say otherwise."""
    options = (
        (DEFAULT_BRIDGE, "true"),
        (ICC, "true"),
        (MASQUERADE, "true"),
        (HOST_BINDING, "0.0.0.0"),
        (BRIDGE_NAME, interface),
        (MTU, str(mtu or 1500)),
    )
    pool = _choose4(around) if not subnet else _with_gateway(_bridge_pool(subnet))
    return Network(
        id=id_,
        name="bridge",
        driver=Driver.BRIDGE,
        created_ns=created_ns,
        pools=(pool,),
        options=options,
        interface=interface,
    )


def _bridge_pool(text: str) -> PoolConfig:
    """`172.30.0.0/16`, or with the bridge's own address: `172.30.0.1/16`."""
    subnet, address = str(ipam.parse_subnet(text)), text.partition("/")[0]
    if address == subnet.partition("/")[0]:
        return PoolConfig(subnet=subnet)
    return PoolConfig(subnet=subnet, gateway=address)


def plan_network(
    request: NetworkRequest, around: Surroundings, id_: str, created_ns: int
) -> Network:
    """The network that *request* describes.

    Raises:
        InvalidArgument, Conflict, Forbidden, NotFound: in dockerd's words where clients read them.
    """
    _check_name(request, around.networks)
    driver = _driver(request.driver)
    options = dict(request.options)
    _check_options(driver, options)
    if not request.ipv4 and not request.ipv6:
        raise InvalidArgument("IPv4 or IPv6 must be enabled")
    if request.ipam_driver not in ("", "default"):
        raise NotFound(f'plugin "{request.ipam_driver[:80]}" not found')
    pools = _plan_pools(request, around)
    if driver is Driver.BRIDGE:
        interface = options.get(BRIDGE_NAME, "") or f"br-{id_[:12]}"
    else:
        interface = options.get("parent", "") or f"dm-{id_[:12]}"
    if len(interface.encode()) > link.MAX_NAME_BYTES or not _INTERFACE.fullmatch(interface):
        raise InvalidArgument(f"invalid interface name: {interface[:80]!r}")
    for other in around.networks:
        if driver is Driver.BRIDGE and other.interface == interface:
            raise Forbidden(
                f"cannot create network {id_} ({interface}): conflicts with network "
                f"{other.id} ({interface}): networks have same bridge name"
            )
        if driver is not Driver.BRIDGE and other.interface == interface:
            raise Forbidden(f"network {other.id} is already using parent interface {interface}")
    return Network(
        id=id_,
        name=request.name,
        driver=driver,
        created_ns=created_ns,
        ipv4=request.ipv4,
        ipv6=request.ipv6,
        internal=request.internal or (driver is not Driver.BRIDGE and "parent" not in options),
        attachable=request.attachable,
        pools=pools,
        ipam_options=request.ipam_options,
        options=request.options,
        labels=request.labels,
        interface=interface,
        owns_interface=False,
    )


def parse_vlan(interface: str) -> tuple[str, int] | None:
    """`eth0.50`: the interface and the VLAN's number; None for any other name.

    Raises:
        InvalidArgument: the number is none of a VLAN.
    """
    below, dot, number = interface.rpartition(".")
    if not dot or not below or not number.isdecimal():
        return None
    if not 0 < int(number) < 4095:
        raise InvalidArgument(f"vlan id must be between 1-4094, received: {number}")
    return below, int(number)


def _check_name(request: NetworkRequest, networks: Sequence[Network]) -> None:
    name = request.name
    if not name.strip():
        raise InvalidArgument("invalid name: name is empty")
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidArgument(f"invalid network name: {name[:80]!r}")
    if name in ("bridge", "host", "none", "default"):
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    if any(network.name == name for network in networks):
        raise Conflict(f"network with name {name} already exists")
    if len(networks) >= MAX_NETWORKS:
        raise Forbidden(f"there are {MAX_NETWORKS} networks already")


def _driver(name: str) -> Driver:
    if name in ("", "bridge", "default"):
        return Driver.BRIDGE
    if name in (Driver.MACVLAN, Driver.IPVLAN):
        return Driver(name)
    if name in (Driver.HOST, Driver.NULL):
        raise Forbidden(f'only one instance of "{name}" network is allowed')
    raise NotFound(
        f'could not find plugin {name[:80]} in v1 plugin registry: plugin "{name[:80]}" not found'
    )


def _check_options(driver: Driver, options: dict[str, str]) -> None:
    for key, understood in _UNDERSTOOD.items():
        if options.get(key, understood[0]) not in understood:
            raise NotImplementedYet(f"{key}={options[key][:40]} is not supported")
    mtu = options.get(MTU, "")
    if mtu and (not mtu.isdecimal() or not 68 <= int(mtu) <= MAX_MTU):
        raise InvalidArgument(f"invalid value for {MTU}: {mtu[:40]!r}")
    for key in (ICC, MASQUERADE):
        if options.get(key, "").lower() not in ("", "1", "t", "true", "0", "f", "false"):
            raise InvalidArgument(f"failed to parse {key} value: {options[key][:40]!r}")
    if binding := options.get(HOST_BINDING, ""):
        ipam.parse_address(binding)
    mode = options.get(f"{driver}_mode", "")
    modes = link.MACVLAN_MODES if driver is Driver.MACVLAN else link.IPVLAN_MODES
    if driver is not Driver.BRIDGE:
        if mode and mode not in modes:
            raise InvalidArgument(f"requested {driver} mode '{mode[:40]}' is not valid")
        if options.get("ipvlan_flag", "bridge") not in link.IPVLAN_FLAGS:
            raise InvalidArgument(f"invalid ipvlan_flag: {options['ipvlan_flag'][:40]!r}")
        parse_vlan(options.get("parent", ""))


def _plan_pools(request: NetworkRequest, around: Surroundings) -> tuple[PoolConfig, ...]:
    if len(request.pools) > MAX_POOLS:
        raise InvalidArgument(f"more than {MAX_POOLS} subnets")
    for pool in request.pools:
        _refuse_host_bits("subnet", pool.subnet)
        _refuse_host_bits("ip-range", pool.ip_range)
    pools = [_with_gateway(pool) for pool in request.pools]
    subnets = [ipam.parse_subnet(pool.subnet) for pool in pools]
    taken = [subnet for subnet, _ in _subnets_of(around.networks)]
    for index, subnet in enumerate(subnets):
        if subnet.version == 6 and not request.ipv6:
            raise InvalidArgument("IPv6 subnet specified, but IPv6 is not enabled")
        if any(ipam.overlap(subnet, other) for other in (*taken, *subnets[:index])):
            raise Forbidden(
                "invalid pool request: Pool overlaps with other one on this address space"
            )
    versions = {subnet.version for subnet in subnets}
    if request.ipv4 and 4 not in versions:
        pools.insert(0, _choose4(around))
    if request.ipv6 and 6 not in versions:
        used = [*taken, *around.used]
        chosen = ipam.choose_subnet(ipam.candidates6(around.ula), used)
        pools.append(_with_gateway(PoolConfig(subnet=str(chosen)), chosen=True))
    return tuple(pools)


def _refuse_host_bits(kind: str, text: str) -> None:
    if not text:
        return
    subnet = ipam.parse_subnet(text)
    if ip_interface(text).ip != subnet.network_address:
        raise InvalidArgument(
            f"invalid network config:\ninvalid {kind} {text}: it should be {subnet}"
        )


def _choose4(around: Surroundings) -> PoolConfig:
    taken = [subnet for subnet, _ in _subnets_of(around.networks)]
    chosen = ipam.choose_subnet(ipam.candidates4(around.pools), [*taken, *around.used])
    return _with_gateway(PoolConfig(subnet=str(chosen)), chosen=True)


def _subnets_of(networks: Iterable[Network]) -> list[tuple[ipam.Subnet, Network]]:
    return [(ip_network(pool.subnet), network) for network in networks for pool in network.pools]


def _with_gateway(pool: PoolConfig, *, chosen: bool = False) -> PoolConfig:
    """*pool* checked and in its normal form, with a gateway."""
    subnet = ipam.parse_subnet(pool.subnet)
    normal = replace(pool, subnet=str(subnet))
    known = ipam.Pool(normal)
    if pool.gateway:
        return normal
    # The first address that nobody named; an auxiliary address may be the very first.
    return replace(normal, gateway=known.take_any(), gateway_given=chosen)
