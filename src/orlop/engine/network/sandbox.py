"""The sandbox of one container: a namespace with interfaces and ports of the host; its file.

What must be known to a later engine is in `network.json` beside the container.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orlop.engine import json_codec
from orlop.engine.network import joining, rules
from orlop.engine.network.kernel import new_namespace, open_name_server
from orlop.engine.network.model import SandboxState
from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orlop.engine.container.endpoints import EndpointConfig
    from orlop.engine.network.kernel import Kernel
    from orlop.engine.network.model import Endpoint, Network
    from orlop.engine.network.name_server import NameServer
    from orlop.engine.network.ports import HeldPort
    from orlop.engine.network.relay import Relay
    from orlop.engine.network.rules import Row

log = logging.getLogger(__name__)

type Sockets = tuple[socket.socket, socket.socket]
"""UDP and TCP."""

FILE_NAME = "network.json"
FORMAT = 1
MAX_FILE_BYTES = 1 << 20
NO_FD = -1


@dataclass(slots=True)
class Sandbox:
    """Of one container, from before its start until after its end."""

    container_id: str
    state: SandboxState
    namespace: int = NO_FD
    """Descriptor of the network namespace."""
    held: list[HeldPort] = field(default_factory=list)
    relays: list[Relay] = field(default_factory=list)
    name_server: NameServer | None = None
    links: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """`CONTAINER:ALIAS` by network id: names that only this container uses."""
    dns: tuple[str, ...] = ()
    """Name servers the container asked for; empty: the host's."""

    def rows(self) -> list[Row]:
        """What it has in the nftables table."""
        endpoint = self.gateway()
        return [] if endpoint is None else rules.port_rows(self.state.ports, endpoint)

    def gateway(self) -> Endpoint | None:
        """The endpoint that published ports lead to."""
        return self.endpoint_in(self.state.gateway_network)

    def endpoint_in(self, network_id: str) -> Endpoint | None:
        for endpoint in self.state.endpoints:
            if endpoint.network_id == network_id:
                return endpoint
        return None

    def default_routes(self) -> list[tuple[str, str]]:
        """Gateway and interface of each default route."""
        routes = []
        for version in (4, 6):
            endpoint = self.route_endpoint(version)
            if endpoint is not None:
                gateway = endpoint.gateway4 if version == 4 else endpoint.gateway6
                routes.append((gateway, endpoint.interface))
        return routes

    def route_endpoint(self, version: int) -> Endpoint | None:
        """The endpoint of the default route: the chosen one, or another where it has none."""
        able = [e for e in self.state.endpoints if (e.gateway4 if version == 4 else e.gateway6)]
        chosen = [e for e in able if e.network_id == self.state.gateway_network]
        return next(iter([*chosen, *able]), None)

    def next_interface(self, prefix: str) -> int:
        """The lowest number that no interface of it has."""
        names = {endpoint.interface for endpoint in self.state.endpoints}
        return next(number for number in range(len(names) + 1) if f"{prefix}{number}" not in names)


def build(
    kernel: Kernel, sandbox: Sandbox, networks: dict[str, Network], *, name_server: bool
) -> Sockets | None:
    """Make the namespace with everything in it; sockets for a name server if there is to be one.

    In the network thread.

    Raises:
        OSError: with the kernel's reason; nothing is left of it.
    """
    namespace = new_namespace()
    try:
        for endpoint in sandbox.state.endpoints:
            network = networks[endpoint.network_id]
            kernel.connect(namespace, endpoint, network)
        routes = sandbox.default_routes()
        if routes:
            kernel.set_default_routes(namespace, (), routes)
        sockets = open_name_server(namespace, kernel.table) if name_server else None
    except BaseException:
        # With its last reference the namespace goes, and every interface in it.
        os.close(namespace)
        raise
    sandbox.namespace = namespace
    return sockets


def udp_ports(state: SandboxState) -> set[tuple[int, int]]:
    """Family and number of the host's ports at which it takes datagrams."""
    return {
        (int(socket.AF_INET6 if ":" in port.host_ip else socket.AF_INET), port.host_port)
        for port in state.ports
        if port.protocol == "udp"
    }


def write_state(directory: Path, state: SandboxState) -> None:
    """Store what a later engine needs; not synced, as the namespace does not outlive the kernel.

    Raises:
        OSError: no space.
    """
    data = {"format": FORMAT, "sandbox": json_codec.encode(state)}
    text = json.dumps(data, separators=(",", ":")).encode()
    # The first start after a boot finds no directory yet.
    directory.mkdir(parents=True, exist_ok=True, mode=0o711)
    atomic_file.write_bytes(directory / FILE_NAME, text, mode=0o600, durable=False)


def read_state(directory: Path) -> SandboxState | None:
    """What was stored; None if nothing was, or nothing that can be used."""
    try:
        with open(directory / FILE_NAME, "rb") as stream:
            data = json.loads(stream.read(MAX_FILE_BYTES))
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise InvalidArgument("unknown format")
        return json_codec.decode(SandboxState, data.get("sandbox"), FILE_NAME)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, InvalidArgument) as error:
        log.warning("%s: %s, ignoring", directory / FILE_NAME, error)
        return None


def with_gateway(state: SandboxState, wanted: Sequence[EndpointConfig]) -> SandboxState:
    """*state* with the network chosen that gives the default route."""
    endpoint = joining.gateway_endpoint(state.endpoints, wanted, 4)
    endpoint = endpoint or joining.gateway_endpoint(state.endpoints, wanted, 6)
    return replace(state, gateway_network="" if endpoint is None else endpoint.network_id)
