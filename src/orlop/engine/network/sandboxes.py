"""Containers' network namespaces: made before a start, undone after the end, found again.

A namespace is held by a descriptor of ours until the container has ended, and by the container's
processes: a new engine finds it through them, and when both are gone, so is it.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.network import etc_files, joining
from orlop.engine.network import sandbox as sandboxes
from orlop.engine.network.model import HOST_BINDING, Driver, SandboxState
from orlop.engine.network.ports import HostPorts
from orlop.engine.network.relay import Relay
from orlop.engine.network.sandbox import NO_FD, Sandbox
from orlop.lib.errors import Conflict, Internal, OrlopError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orlop.engine.config import ContainerConfig
    from orlop.engine.container import Container
    from orlop.engine.endpoints import EndpointConfig
    from orlop.engine.layout import Layout
    from orlop.engine.network.core import Core
    from orlop.engine.network.joining import NetworkPools
    from orlop.engine.network.model import Endpoint, Network
    from orlop.engine.network.rules import Row
    from orlop.engine.record import Record
    from orlop.engine.spec import HostFacts


class Sandboxes:
    """Of one engine. *find* gives a container by reference, as the engine does."""

    def __init__(self, core: Core, find: Callable[[str], Container]) -> None:
        self._core = core
        self._find_container = find
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
        sandbox = Sandbox(record.id, state)
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

    def close(self) -> None:
        """Let go of descriptors and ports of the host."""
        for sandbox in self._core.sandboxes.values():
            self._release_ports(sandbox)
            if sandbox.namespace >= 0:
                os.close(sandbox.namespace)
                sandbox.namespace = NO_FD

    async def attach(self, record: Record, directory: Path) -> None:
        """Make the container's namespace ready for its start.

        Raises:
            OrlopError: with dockerd's words; nothing is left of it.
        """
        mode = record.config.network
        if mode in ("host", "none"):
            return
        if mode.startswith(joining.CONTAINER_MODE):
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
            await self._core.in_thread(sandboxes.build, kernel, sandbox, networks)
            await self._core.change(add=sandbox.rows())
            sandboxes.write_state(directory, sandbox.state)
        except (OSError, OrlopError) as error:
            self.release(record.id)
            raise Internal(f"failed to set up container networking: {error}") from error
        self._start_relays(sandbox)
        for endpoint in sandbox.state.endpoints:
            self._core.publish("connect", networks[endpoint.network_id], record.id)

    def _plan_sandbox(self, record: Record) -> Sandbox:
        sandbox = Sandbox(record.id, SandboxState())
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

    def _resolve(self, config: ContainerConfig) -> list[EndpointConfig]:
        """The networks the container is to be in, by their names."""
        wanted = joining.wanted_endpoints(config)
        return [replace(item, network=self._core.find(item.network).name) for item in wanted]

    def _join(
        self, sandbox: Sandbox, record: Record, pools: NetworkPools, wanted: EndpointConfig
    ) -> Endpoint:
        number = sandbox.next_interface("eth")
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
        if sandbox.namespace >= 0:
            # The kernel takes the namespace apart by itself, with all interfaces in it.
            os.close(sandbox.namespace)
            sandbox.namespace = NO_FD
        for endpoint in sandbox.state.endpoints:
            pools = self._core.known.get(endpoint.network_id)
            if pools is not None:
                self._core.publish("disconnect", pools.network, container_id)
        if rows:
            self._core.host.tasks.start(self._withdraw(rows), "published ports")

    async def connect(
        self,
        record: Record,
        directory: Path,
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
        await self._follow(sandbox, before, record, directory, all_wanted)
        self._core.publish("connect", network, record.id)

    async def disconnect(
        self,
        record: Record,
        directory: Path,
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
        self._core.known[network.id].give_back(endpoint)
        await self._follow(sandbox, before, record, directory, all_wanted)
        self._core.publish("disconnect", network, record.id)

    async def _follow(
        self,
        sandbox: Sandbox,
        before: SandboxState,
        record: Record,
        directory: Path,
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
        sandboxes.write_state(directory, sandbox.state)

    async def _withdraw(self, rows: list[Row]) -> None:
        try:
            await self._core.change(delete=rows)
        except OrlopError as error:
            self._core.host.warn(f"{error}, ignoring")

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
        etc = self._write_etc(record, layout, facts.hostname)
        return replace(facts, namespaces=namespaces, etc_dir=etc)

    def state_of(self, container_id: str) -> SandboxState | None:
        """What a running container has of networks."""
        sandbox = self._core.sandboxes.get(container_id)
        return None if sandbox is None else sandbox.state

    def _write_etc(self, record: Record, layout: Layout, hostname: str) -> Path:
        if record.config.network.startswith(joining.CONTAINER_MODE):
            return self._joined(record.config.network).layout.etc
        layout.etc.mkdir(mode=0o755, exist_ok=True)
        (layout.etc / "hostname").write_text(hostname + "\n")
        (layout.etc / "hosts").write_text(self._hosts(record, hostname))
        (layout.etc / "resolv.conf").write_text(self._resolv_conf(record))
        return layout.etc

    def _hosts(self, record: Record, hostname: str) -> str:
        config, state = record.config, self.state_of(record.id)
        if config.network == "host":
            return etc_files.plan_hosts_like_host(config.extra_hosts)
        names = [f"{hostname}.{config.domainname}", hostname] if config.domainname else [hostname]
        endpoints = () if state is None else state.endpoints
        bridge = self._core.find("bridge")
        gateways = [pool.gateway for pool in bridge.pools if pool.gateway]
        return etc_files.plan_hosts(config.extra_hosts, endpoints, names, (), gateways)

    def _resolv_conf(self, record: Record) -> str:
        networking = record.config.networking
        if record.config.network == "none":
            return ""
        host = etc_files.read_host_resolvers()
        if record.config.network == "host":
            return etc_files.plan_resolv_conf(host, networking, embedded=False, same_host=True)
        state = self.state_of(record.id)
        embedded = state is not None and state.dns_port != 0
        return etc_files.plan_resolv_conf(host, networking, embedded=embedded)
