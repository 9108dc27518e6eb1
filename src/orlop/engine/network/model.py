"""Networks and endpoints as values: what is stored, and what is known while a container runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

type Options = tuple[tuple[str, str], ...]

BRIDGE_NAME = "com.docker.network.bridge.name"
ICC = "com.docker.network.bridge.enable_icc"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
DEFAULT_BRIDGE = "com.docker.network.bridge.default_bridge"
MTU = "com.docker.network.driver.mtu"
INTERFACE_NAME = "com.docker.network.endpoint.ifname"
IFACE_PREFIX = "com.docker.network.container_iface_prefix"


class Driver(StrEnum):
    """What a network is made of."""

    BRIDGE = "bridge"
    HOST = "host"
    NULL = "null"
    MACVLAN = "macvlan"
    IPVLAN = "ipvlan"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """A subnet of a network, in text. Empty *ip_range*: the whole subnet."""

    subnet: str
    ip_range: str = ""
    gateway: str = ""
    auxiliary: Options = ()
    """Addresses that are others', by name."""
    gateway_given: bool = True
    """False: the first address was taken because nobody named one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network as it is stored. Never changed, only made and removed."""

    id: str
    name: str
    driver: Driver
    created_ns: int
    ipv4: bool = True
    ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    pools: tuple[PoolConfig, ...] = ()
    ipam_options: Options | None = None
    options: Options = ()
    labels: Options = ()
    interface: str = ""
    """The bridge, or the parent of a macvlan or ipvlan network."""
    owns_interface: bool = True
    """Whether it is ours to delete with the network: not a bridge that was there before."""

    def option(self, key: str, default: str = "") -> str:
        return dict(self.options).get(key, default)

    def flag(self, key: str, *, default: bool) -> bool:
        """An option that is true or false."""
        value = self.option(key).lower()
        return default if value == "" else value in ("1", "t", "true")

    @property
    def mtu(self) -> int:
        """0: the kernel's default."""
        value = self.option(MTU)
        return int(value) if value.isdecimal() else 0

    @property
    def is_default_bridge(self) -> bool:
        return self.flag(DEFAULT_BRIDGE, default=False)

    @property
    def is_predefined(self) -> bool:
        return self.name in ("bridge", "host", "none")

    @property
    def has_names(self) -> bool:
        """Whether containers in it find each other by name."""
        return self.driver not in (Driver.HOST, Driver.NULL) and not self.is_default_bridge


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A running container's place in a network. Addresses are text, empty where it has none."""

    id: str
    network_id: str
    network: str
    """The network's name."""
    interface: str
    """In the container: eth0 …"""
    host_interface: str = ""
    """The other end of the pair; empty for macvlan and ipvlan."""
    mac: str = ""
    ipv4: str = ""
    prefix4: int = 0
    gateway4: str = ""
    ipv6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    link_local: tuple[str, ...] = ()
    """Further addresses, of 169.254/16 or fe80::/64."""
    names: tuple[str, ...] = ()
    """What it is called there, in the order Docker shows: name, aliases, short id."""


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of the host that leads to one of the container."""

    protocol: str
    container_port: int
    host_ip: str
    host_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxState:
    """What must be known again after the engine was killed; stored beside the container."""

    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[PublishedPort, ...] = ()
    gateway_network: str = ""
    """Id of the network that gives the default route; empty without one."""
    dns_port: int = 0
    """Where the name server listens in the container's namespace; 0: it has none."""
