"""Containers' network namespaces: made before a start, undone after the end, found again.

A namespace is held by a descriptor of ours until the container has ended, and by the container's
processes: a new engine finds it through them, and when both are gone, so is it.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.network import joining
from orlop.engine.network import sandbox as sandboxes
from orlop.engine.network.etc_writer import EtcWriter, needs_name_server
from orlop.engine.network.kernel import open_name_server
from orlop.engine.network.model import HOST_BINDING, IFACE_PREFIX, Driver, SandboxState
from orlop.engine.network.name_server import NameServer
from orlop.engine.network.names import ContainerResolver, links_by_network
from orlop.engine.network.ports import HostPorts
from orlop.engine.network.relay import Relay
from orlop.engine.network.sandbox import NO_FD, Sandbox
from orlop.lib.errors import Conflict, Internal, InvalidArgument, OrlopError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.container.container import Container
    from orlop.engine.container.endpoints import EndpointConfig
    from orlop.engine.container.layout import Layout
    from orlop.engine.container.record import Record
    from orlop.engine.network.core import Core
    from orlop.engine.network.joining import NetworkPools
    from orlop.engine.network.model import Endpoint, Network
    from orlop.engine.network.rules import Row
    from orlop.engine.runtime.spec import HostFacts


class Sandboxes:
    """Of one engine. *find* gives a container by reference, as the engine does."""

    def __init__(self, core: Core, find: Callable[[str], Container]) -> None:
        self._core = core
        self._find_container = find
        self._etc = EtcWriter(core, find)
        self.ports = HostPorts()

    def recover(self, containers: Sequence[Container]) -> None:
        """Take over what running containers have, before anything else is given out."""
        for container in containers:
            if not container.record.state.is_up:
                continue
            state = sandboxes.read_state(container.layout.run)
            if state is None:
                continue
            self._recover_one(container.record, state)

    def _recover_one(self, record: Record, state: SandboxState) -> None:
        for endpoint in state.endpoints:
            pools = self._core.known.get(endpoint.network_id)
            if pools is not None:
                pools.keep(endpoint)
        sandbox = self._new_sandbox(record, state)
        sandbox.held = self.ports.rebind(state.ports)
        if len(sandbox.held) < len(state.ports):
            self._core.host.warn(
                f"host ports of container {record.config.name} were taken by others meanwhile"
            )
        with contextlib.suppress(OSError):
            path = f"/proc/{record.pid}/ns/net"
            sandbox.namespace = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._core.sandboxes[record.id] = sandbox
        self._start_relays(sandbox)

    async def reopen_name_servers(self) -> None:
        """Those of containers that were found running. One that cannot be is reported."""
        table = self._core.settings.table
        for sandbox in tuple(self._core.sandboxes.values()):
            port = sandbox.state.dns_port
            if not port or sandbox.namespace < 0 or sandbox.name_server is not None:
                continue
            try:
                sockets = await self._core.in_thread(
                    open_name_server, sandbox.namespace, table, port
                )
            except OSError as error:
                id_ = sandbox.container_id[:12]
                self._core.host.warn(f"container {id_} has no name server: {error}")
                continue
            self._start_name_server(sandbox, sockets)

    def _start_name_server(self, sandbox: Sandbox, sockets: sandboxes.Sockets) -> None:
        if self._core.sandboxes.get(sandbox.container_id) is not sandbox:
            # It has ended while they were made.
            for sock in sockets:
                sock.close()
            return
        resolver = ContainerResolver(self._core, sandbox)
        sandbox.name_server = NameServer(*sockets, resolver, self._core.host.tasks)
        sandbox.name_server.start()

    def close(self) -> None:
        """Let go of descriptors and ports of the host."""
        for sandbox in self._core.sandboxes.values():
            self._let_go(sandbox)

    def _let_go(self, sandbox: Sandbox) -> None:
        self._release_ports(sandbox)
        if sandbox.name_server is not None:
            sandbox.name_server.close()
            sandbox.name_server = None
        if sandbox.namespace >= 0:
            # The kernel takes the namespace apart by itself, with all interfaces in it.
            os.close(sandbox.namespace)
            sandbox.namespace = NO_FD

    def namespace_of(self, container_id: str) -> int:
        """A descriptor of the namespace made for it; `NO_FD` if it has none of its own here."""
        sandbox = self._core.sandboxes.get(container_id)
        return NO_FD if sandbox is None else sandbox.namespace

    async def attach(self, record: Record, layout: Layout) -> None:
        """Make the container's namespace ready for its start.

        Raises:
            OrlopError: with dockerd's words; nothing is left of it.
        """
        mode = record.config.network
        if mode in ("host", "none"):
            return
        if mode.startswith(joining.CONTAINER_MODE):
            if self._find_container(mode.removeprefix(joining.CONTAINER_MODE)).record is record:
                raise InvalidArgument("cannot join own network")
            self._joined(mode)
            return
        await self._core.ready.wait()
        kernel = self._core.working()
        try:
            sandbox = self._plan_sandbox(record)
        except OrlopError as error:
            raise type(error)(f"failed to set up container networking: {error}") from error
        self._core.sandboxes[record.id] = sandbox
        networks = {pools.network.id: pools.network for pools in self._core.known.values()}
        try:
            sockets = await self._core.in_thread(
                sandboxes.build,
                kernel,
                sandbox,
                networks,
                name_server=needs_name_server(sandbox),
            )
            if sockets is not None:
                sandbox.state = replace(sandbox.state, dns_port=sockets[0].getsockname()[1])
                self._start_name_server(sandbox, sockets)
            await self._core.change(add=sandbox.rows())
            await self._forget(sandbox.state)
            sandboxes.write_state(layout.run, sandbox.state)
        except (OSError, OrlopError) as error:
            self.release(record.id)
            raise Internal(f"failed to set up container networking: {error}") from error
        self._core.endpoints_changed()
        self._start_relays(sandbox)
        for endpoint in sandbox.state.endpoints:
            self._core.publish("connect", networks[endpoint.network_id], record.id)

    def _plan_sandbox(self, record: Record) -> Sandbox:
        sandbox = self._new_sandbox(record, SandboxState())
        wanted = self._resolve(record.config)
        try:
            for item in wanted:
                pools = self._core.known[self._core.find(item.network).id]
                self._join(sandbox, record, pools, item)
            sandbox.state = sandboxes.with_gateway(sandbox.state, wanted)
            self._publish_ports(sandbox, record)
        except BaseException:
            self._give_back(sandbox)
            raise
        return sandbox

    def _new_sandbox(self, record: Record, state: SandboxState) -> Sandbox:
        links = links_by_network(self._core, joining.wanted_endpoints(record.config))
        return Sandbox(record.id, state, links=links, dns=record.config.networking.dns)

    def _resolve(self, config: ContainerConfig) -> list[EndpointConfig]:
        """The networks the container is to be in, by their names."""
        wanted = joining.wanted_endpoints(config)
        return [replace(item, network=self._core.find(item.network).name) for item in wanted]

    def _join(
        self, sandbox: Sandbox, record: Record, pools: NetworkPools, wanted: EndpointConfig
    ) -> Endpoint:
        number = sandbox.next_interface(pools.network.option(IFACE_PREFIX, "eth"))
        names = (
            joining.endpoint_names(record.config, record.id, wanted)
            if pools.network.has_names
            else ()
        )
        endpoint = joining.make_endpoint(pools, wanted, number=number, names=names)
        sandbox.state = replace(sandbox.state, endpoints=(*sandbox.state.endpoints, endpoint))
        return endpoint

    def _publish_ports(self, sandbox: Sandbox, record: Record) -> None:
        endpoint = sandbox.gateway()
        if endpoint is None:
            return
        network = self._core.known[endpoint.network_id].network
        if network.driver is not Driver.BRIDGE:
            return
        for binding in joining.wanted_ports(record.config):
            try:
                sandbox.held += self.ports.bind(binding, network.option(HOST_BINDING))
            except Internal as error:
                raise Internal(
                    "driver failed programming external connectivity on endpoint "
                    f"{record.config.name} ({endpoint.id}): {error}"
                ) from error
        ports = tuple(item.port for item in sandbox.held)
        sandbox.state = replace(sandbox.state, ports=ports)

    def _start_relays(self, sandbox: Sandbox) -> None:
        endpoint = sandbox.gateway()
        target = "" if endpoint is None else endpoint.ipv4 or endpoint.ipv6
        for item in sandbox.held:
            if target and item.socket is not None and item.port.protocol != "sctp":
                relay = Relay(item.socket, item.port, target, self._core.host.tasks)
                relay.start()
                sandbox.relays.append(relay)

    def _release_ports(self, sandbox: Sandbox) -> None:
        for relay in sandbox.relays:
            relay.close()
        sandbox.relays = []
        self.ports.release(sandbox.held)
        sandbox.held = []

    def _give_back(self, sandbox: Sandbox) -> None:
        self._release_ports(sandbox)
        for endpoint in sandbox.state.endpoints:
            pools = self._core.known.get(endpoint.network_id)
            if pools is not None:
                pools.give_back(endpoint)

    def release(self, container_id: str) -> None:
        """Undo `attach`; the kernel's part happens later. Nothing if there is nothing."""
        sandbox = self._core.sandboxes.pop(container_id, None)
        if sandbox is None:
            return
        rows = sandbox.rows()
        self._give_back(sandbox)
        self._let_go(sandbox)
        self._core.endpoints_changed()
        for endpoint in sandbox.state.endpoints:
            pools = self._core.known.get(endpoint.network_id)
            if pools is not None:
                self._core.publish("disconnect", pools.network, container_id)
        if rows:
            self._core.host.tasks.start(self._withdraw(rows, sandbox.state), "published ports")

    async def connect(
        self,
        record: Record,
        layout: Layout,
        wanted: EndpointConfig,
        all_wanted: Sequence[EndpointConfig],
    ) -> None:
        """Give a running container an interface in one more network, of *all_wanted* then.

        Raises:
            OrlopError: in dockerd's words; the container has what it had.
        """
        sandbox = self._core.sandboxes.get(record.id)
        if sandbox is None or sandbox.namespace < 0:
            raise Conflict(f"container {record.id} has no network namespace of its own")
        kernel = self._core.working()
        network = self._core.find(wanted.network)
        before = sandbox.state
        endpoint = self._join(sandbox, record, self._core.known[network.id], wanted)
        try:
            await self._core.in_thread(kernel.connect, sandbox.namespace, endpoint, network)
        except OSError as error:
            sandbox.state = before
            self._core.known[network.id].give_back(endpoint)
            raise Internal(f"cannot connect to network {network.name}: {error}") from error
        await self._follow(sandbox, before, record, layout, all_wanted)
        self._core.publish("connect", network, record.id)

    async def disconnect(
        self,
        record: Record,
        layout: Layout,
        network: Network,
        all_wanted: Sequence[EndpointConfig],
    ) -> None:
        """Take a running container out of *network*, leaving *all_wanted*.

        Raises:
            OrlopError: it is not in it.
        """
        sandbox = self._core.sandboxes.get(record.id)
        endpoint = None if sandbox is None else sandbox.endpoint_in(network.id)
        if sandbox is None or endpoint is None:
            raise Internal(f"container {record.id} is not connected to network {network.name}")
        kernel, before = self._core.working(), sandbox.state
        rest = tuple(other for other in before.endpoints if other is not endpoint)
        sandbox.state = replace(before, endpoints=rest)
        try:
            await self._core.in_thread(kernel.disconnect, sandbox.namespace, endpoint)
        except OSError as error:
            self._core.host.warn(f"cannot delete {endpoint.interface}: {error}, ignoring")
        # Nobody was in it any more: it may have been removed meanwhile.
        if (pools := self._core.known.get(network.id)) is not None:
            pools.give_back(endpoint)
        await self._follow(sandbox, before, record, layout, all_wanted)
        self._core.publish("disconnect", network, record.id)

    async def _follow(
        self,
        sandbox: Sandbox,
        before: SandboxState,
        record: Record,
        layout: Layout,
        all_wanted: Sequence[EndpointConfig],
    ) -> None:
        """After a change of endpoints: choose default route and what published ports lead to."""
        old = Sandbox(record.id, before)
        rows = old.rows()
        now = sandboxes.with_gateway(sandbox.state, all_wanted)
        moved = now.gateway_network != before.gateway_network
        sandbox.state = now
        if moved and now.ports:
            self._release_ports(sandbox)
            sandbox.state = replace(now, ports=())
        if moved and not sandbox.held:
            self._publish_ports(sandbox, record)
            self._start_relays(sandbox)
        kernel = self._core.working()
        gateways = [gateway for gateway, _interface in old.default_routes()]
        try:
            await self._core.in_thread(
                kernel.set_default_routes, sandbox.namespace, gateways, sandbox.default_routes()
            )
        except OSError as error:
            self._core.host.warn(f"cannot change the default route: {error}, ignoring")
        new_rows = sandbox.rows()
        if rows != new_rows:
            await self._core.change(add=new_rows, delete=rows)
            await self._forget(before)
        self._core.endpoints_changed()
        sandbox.links = links_by_network(self._core, all_wanted)
        await self._follow_names(sandbox, before, record, layout)
        sandboxes.write_state(layout.run, sandbox.state)

    async def _follow_names(
        self, sandbox: Sandbox, before: SandboxState, record: Record, layout: Layout
    ) -> None:
        """After a change of endpoints: the files in /etc, and a name server when one is needed."""
        config = record.config
        if not sandbox.state.dns_port and needs_name_server(sandbox):
            table = self._core.settings.table
            sockets = await self._core.in_thread(open_name_server, sandbox.namespace, table)
            sandbox.state = replace(sandbox.state, dns_port=sockets[0].getsockname()[1])
            self._start_name_server(sandbox, sockets)
            if config.manage_etc:
                self._etc.write_resolv_conf(record, layout.etc)
        if config.manage_etc:
            hostname = (layout.etc / "hostname").read_text().strip()
            self._etc.update_hosts(layout.etc, hostname, config.domainname, before, sandbox.state)

    async def _withdraw(self, rows: list[Row], state: SandboxState) -> None:
        try:
            await self._core.change(delete=rows)
            await self._forget(state)
        except OrlopError as error:
            self._core.host.warn(f"{error}, ignoring")

    async def _forget(self, state: SandboxState) -> None:
        """Have the kernel forget where datagrams to published ports went before."""
        udp_ports = sandboxes.udp_ports(state)
        if not udp_ports:
            return
        addresses = [
            text for endpoint in state.endpoints for text in (endpoint.ipv4, endpoint.ipv6) if text
        ]
        kernel = self._core.working()
        await self._core.in_thread(kernel.forget_connections, addresses, udp_ports)

    def renamed(self, record: Record, layout: Layout) -> None:
        """The container has another name: so it has in its networks."""
        sandbox = self._core.sandboxes.get(record.id)
        if sandbox is None:
            return
        wanted = {item.network: item for item in self._resolve(record.config)}
        endpoints = tuple(
            replace(
                endpoint,
                names=joining.endpoint_names(record.config, record.id, wanted[endpoint.network]),
            )
            if endpoint.names and endpoint.network in wanted
            else endpoint
            for endpoint in sandbox.state.endpoints
        )
        sandbox.state = replace(sandbox.state, endpoints=endpoints)
        self._core.endpoints_changed()
        with contextlib.suppress(OSError):
            sandboxes.write_state(layout.run, sandbox.state)

    def _joined(self, mode: str) -> Container:
        """The container whose namespace another is to be in.

        Raises:
            Conflict: it does not run.
        """
        other = self._find_container(mode.removeprefix(joining.CONTAINER_MODE))
        if not other.record.state.is_up:
            raise Conflict(f"cannot join network of a non running container: {other.record.id}")
        return other

    def add_facts(self, facts: HostFacts, record: Record, layout: Layout) -> HostFacts:
        """*facts* for a start, with the container's namespace and its files for /etc, written.

        Raises:
            OSError: no space. Conflict: they are of a container that does not run.
        """
        mode = record.config.network
        sandbox = self._core.sandboxes.get(record.id)
        namespaces = facts.namespaces
        if mode.startswith(joining.CONTAINER_MODE):
            path = f"/proc/{self._joined(mode).record.pid}/ns/net"
            namespaces = (*namespaces, ("network", path))
        elif sandbox is not None:
            path = f"/proc/{os.getpid()}/fd/{sandbox.namespace}"
            namespaces = (*namespaces, ("network", path))
        if facts.etc_dir is None:
            return replace(facts, namespaces=namespaces)
        if mode.startswith(joining.CONTAINER_MODE):
            return replace(facts, namespaces=namespaces, etc_dir=self._joined(mode).layout.etc)
        self._etc.write(record, layout.etc, facts.hostname)
        variables = self._etc.link_environment(record)
        return replace(facts, namespaces=namespaces, etc_dir=layout.etc, environment=variables)

    def link_environment(self, record: Record) -> tuple[tuple[str, str], ...]:
        """What links add to a further process, as long as what it is linked to runs."""
        try:
            return self._etc.link_environment(record) if record.config.networking.links else ()
        except OrlopError:
            return ()

    def state_of(self, container_id: str) -> SandboxState | None:
        """What a running container has of networks."""
        sandbox = self._core.sandboxes.get(container_id)
        return None if sandbox is None else sandbox.state
