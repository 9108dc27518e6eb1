"""Names of containers in networks, and what the name server of one container may know of them."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

from orlop.engine.network import etc_files
from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.wire import dns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.engine.container.endpoints import EndpointConfig
    from orlop.engine.network.core import Core
    from orlop.engine.network.model import Endpoint
    from orlop.engine.network.sandbox import Sandbox

type Index = dict[str, list[Endpoint]]


class ContainerResolver:
    """For *sandbox*; its container's configuration is asked for each time, as it changes."""

    def __init__(self, core: Core, sandbox: Sandbox) -> None:
        self._core = core
        self._sandbox = sandbox

    def lookup(self, query: dns.Query) -> list[bytes] | None:
        """See `name_server.Resolver`."""
        if query.type == dns.Type.PTR:
            return self._reverse(query.name)
        found = self._find(query.name)
        if not found:
            return None
        is_ipv6 = query.type == dns.Type.AAAA
        if query.type not in (dns.Type.A, dns.Type.AAAA):
            return []
        addresses = [endpoint.ipv6 if is_ipv6 else endpoint.ipv4 for endpoint in found]
        family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        packed = [socket.inet_pton(family, text) for text in addresses if text]
        # Several containers of one name share the work.
        random.shuffle(packed)
        return packed

    def _find(self, name: str) -> list[Endpoint]:
        """Endpoints called *name*, or *name* without the network's at its end."""
        for own in self._sandbox.state.endpoints:
            if not own.names:
                continue
            index = self._core.names_in(own.network_id)
            linked = self._linked(own, name)
            found = index.get(linked or name)
            if not found and name.endswith(f".{own.network.lower()}"):
                found = index.get(name[: -len(own.network) - 1])
            if found:
                return found
        return []

    def _linked(self, own: Endpoint, name: str) -> str:
        """The container that is called *name* by this one alone; empty: none."""
        for link in self._sandbox.links.get(own.network_id, ()):
            target, _, alias = link.partition(":")
            if (alias or target).lower() == name:
                return target.lower()
        return ""

    def _reverse(self, name: str) -> list[bytes] | None:
        address = dns.parse_reverse(name)
        if not address:
            return None
        for own in self._sandbox.state.endpoints:
            if not own.names:
                continue
            for _id, endpoint in self._core.endpoints_of(own.network_id):
                if address in (endpoint.ipv4, endpoint.ipv6) and endpoint.names:
                    try:
                        return [dns.encode_name(f"{endpoint.names[0]}.{endpoint.network}")]
                    except InvalidArgument:
                        return []
        return None

    def upstream(self) -> tuple[str, ...]:
        """See `name_server.Resolver`. A container without a way out may not ask outside either."""
        if not self._sandbox.state.gateway_network and not self._reaches_out():
            return ()
        return self._sandbox.dns or etc_files.read_host_resolvers().servers

    def _reaches_out(self) -> bool:
        for endpoint in self._sandbox.state.endpoints:
            pools = self._core.known.get(endpoint.network_id)
            if pools is not None and not pools.network.internal:
                return True
        return False


def make_index(endpoints: list[tuple[str, Endpoint]]) -> Index:
    """Endpoints by each of their names, in lower case."""
    index: Index = {}
    for _id, endpoint in endpoints:
        for name in endpoint.names:
            index.setdefault(name.lower(), []).append(endpoint)
    return index


def links_by_network(core: Core, endpoints: Sequence[EndpointConfig]) -> dict[str, tuple[str, ...]]:
    """What a container calls others, by network id."""
    found: dict[str, tuple[str, ...]] = {}
    for endpoint in endpoints:
        if endpoint.links:
            try:
                found[core.find(endpoint.network).id] = endpoint.links
            except OrlopError:
                continue
    return found
