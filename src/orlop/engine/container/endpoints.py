"""What a container is asked to have of networks: part of its configuration.

How that is had is `engine.network`'s, which an engine without networks never loads.
"""

from __future__ import annotations

from dataclasses import dataclass

type Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """A network the container is to be in, and what it asks for there. Empty: as it comes."""

    network: str
    """Name or id, as it was asked for."""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    """`CONTAINER` or `CONTAINER:ALIAS` each."""
    ipv4: str = ""
    ipv6: str = ""
    link_local: tuple[str, ...] = ()
    mac: str = ""
    options: Options = ()
    gateway_priority: int = 0
    """Of several networks the one with the highest gives the default route."""


@dataclass(frozen=True, slots=True)
class PortBinding:
    """A port of the container that the host is to answer for."""

    protocol: str
    """`tcp`, `udp` or `sctp`."""
    container_port: int
    host_ip: str = ""
    """Empty: all addresses."""
    host_port: str = ""
    """A number, a range of which any will do, or empty for one that is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Networking:
    """Everything about networks but the mode, which is `ContainerConfig.network`."""

    endpoints: tuple[EndpointConfig, ...] | None = None
    """None: in the network of the mode and no other."""
    ports: tuple[PortBinding, ...] = ()
    exposed: tuple[str, ...] = ()
    """`PORT/PROTOCOL` each, as the client said; the image's are added when they are wanted."""
    publish_all: bool = False
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    """On the default bridge: `CONTAINER:ALIAS` each."""
    mac: str = ""
