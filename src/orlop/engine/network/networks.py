"""Networks of one engine: read, made, removed. Containers in them are `sandboxes`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from orlop.engine.network import catalogue, joining
from orlop.engine.network.claim import Claims
from orlop.engine.network.core import Core
from orlop.engine.network.kernel import Kernel, enable_forwarding
from orlop.engine.network.model import Driver, Network
from orlop.engine.network.rules import network_rows
from orlop.engine.network.sandboxes import Sandboxes
from orlop.engine.network.store import NetworkStore
from orlop.engine.turns import Turns
from orlop.lib.errors import Conflict, Forbidden, Internal, NotFound, OrlopError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop.engine.container.container import Container
    from orlop.engine.host import Host
    from orlop.engine.network.catalogue import NetworkRequest
    from orlop.engine.network.joining import NetworkPools
    from orlop.engine.network.model import Endpoint
    from orlop.engine.settings import NetworkSettings

log = logging.getLogger(__name__)

SHORT_ID = 12
TURN_LIMIT_S = 60.0
"""How long the removal of a network waits for its making."""

BUSY = "the network is still being made or removed"

FORWARDING_MARKER = "forwarding-was-off"
"""File in RUN: this engine switched forwarding on, so nobody meant this host to be a router."""


class Networks:
    """See the module. *find* gives a container by reference, as the engine does."""

    def __init__(
        self, host: Host, settings: NetworkSettings, find: Callable[[str], Container]
    ) -> None:
        self._core = Core(host, settings)
        self.sandboxes = Sandboxes(self._core, find)
        self._find_container = find
        self._store = NetworkStore(host.settings.data_dir / "networks")
        self._turns = Turns()
        self._ula = ""
        self._used: list[tuple[bytes, int]] = []
        self._planned: dict[str, NetworkPools] = {}
        """What is being made: its name and addresses are taken, but nobody can be in it yet. A
        container's start would make the interface, of which no file tells the next engine."""
        self._claims = Claims()

    # Beginning and end.

    async def start(self) -> None:
        """Read the networks and make their interfaces. What fails is reported when it is used."""
        try:
            networks = self._store.load()
            self._ula = self._store.ula()
            self._core.kernel = await self._core.in_thread(Kernel, self._core.settings.table)
            await self._end_removals(networks)
            await self._ensure_predefined()
            for bridge in (self._core.settings.bridge, self._core.find("bridge").interface):
                self._claims.take(bridge)
            await self._enable_forwarding()
            for pools in tuple(self._core.known.values()):
                await self._bring_up(pools.network)
        except (OSError, OrlopError) as error:
            self._fail(error)
        except Exception as error:
            log.exception("networks cannot be started")
            self._fail(error)

    async def _end_removals(self, networks: list[Network]) -> None:
        """Know *networks*, oldest first. Of two with one name the older was being removed when the
        engine ended: its name was free already."""
        newest = {network.name: network for network in networks}
        for network in networks:
            if newest[network.name] is network:
                self._core.known[network.id] = joining.NetworkPools(network)
            else:
                await self._take_down(network)
                self._store.delete(network.id)

    def _fail(self, error: Exception) -> None:
        """There is an engine without container networks rather than none."""
        self._core.table.guard.close()
        self._core.failure = f"container networks cannot be used: {error}"
        self._core.host.warn(self._core.failure)

    async def _bring_up(self, network: Network) -> None:
        kernel = self._core.kernel
        assert kernel is not None
        try:
            await self._core.in_thread(kernel.bring_up, network)
        except OSError as error:
            # Its parent may come later: a container's start tries again.
            self._core.host.warn(f"network {network.name} is not up: {error}")

    def recover(self, containers: Sequence[Container]) -> None:
        """Take over what running containers have, before anything else is given out."""
        self.sandboxes.recover(containers)
        self._core.host.tasks.start(self._finish_start(), "networks")

    async def _finish_start(self) -> None:
        if not self._core.failure:
            try:
                assert self._core.kernel is not None
                # Before: what an earlier engine has begun may come after.
                self._core.table.guard.watch(self._core.kernel.filter_port)
                await self._core.table.write()
            except (OSError, OrlopError) as error:
                self._fail(error)
            except Exception as error:
                log.exception("the nftables table cannot be written")
                self._fail(error)
        self._core.ready.set()
        await self.sandboxes.reopen_name_servers()

    async def close(self) -> None:
        """Let go. Containers keep their networks, and the published ports they have."""
        self._core.table.guard.close()
        self.sandboxes.close()
        if self._core.kernel is not None:
            await self._core.in_thread(self._core.kernel.close)
        self._core.close_thread()
        self._claims.close()

    async def _ensure_predefined(self) -> None:
        kernel = self._core.kernel
        assert kernel is not None
        bridge = self._core.settings.bridge
        self._used = await self._core.in_thread(kernel.used_subnets, bridge)
        names = {pools.network.name for pools in self._core.known.values()}
        now_ns = time.time_ns()
        if "bridge" not in names:
            self._add(self._default_bridge(os.urandom(32).hex(), now_ns))
        elif not any(name == bridge for _, name in socket.if_nameindex()):
            # After a boot nobody is in it: it may become what the settings say now.
            self._renew_bridge()
        for name, driver in (("host", Driver.HOST), ("none", Driver.NULL)):
            if name not in names:
                self._add(
                    Network(
                        id=os.urandom(32).hex(),
                        name=name,
                        driver=driver,
                        created_ns=now_ns,
                        interface="",
                    )
                )

    def _default_bridge(self, id_: str, created_ns: int) -> Network:
        wanted, around = self._core.settings, self._surroundings()
        return catalogue.default_bridge(
            id_, wanted.bridge, wanted.subnet, wanted.mtu, around, created_ns
        )

    def _renew_bridge(self) -> None:
        wanted = self._core.settings
        old = self._core.find("bridge")
        moves = old.interface != wanted.bridge and not self._has(old.interface)
        if not (wanted.subnet or wanted.mtu or moves):
            return
        new = self._default_bridge(old.id, old.created_ns)
        pools = new.pools if wanted.subnet or moves else old.pools
        options = new.options if wanted.mtu or moves else old.options
        interface = new.interface if moves else old.interface
        renewed = replace(old, pools=pools, options=options, interface=interface)
        if renewed != old:
            self._add(renewed)

    def _has(self, bridge: str) -> bool:
        """Whether it is there, and no other engine's."""
        if all(name != bridge for _, name in socket.if_nameindex()):
            return False
        try:
            self._claims.take(bridge)
        except Conflict:
            return False
        return True

    def _add(self, network: Network) -> NetworkPools:
        pools = joining.NetworkPools(network)
        self._store.save(network)
        self._core.known[network.id] = pools
        return pools

    def _surroundings(self) -> catalogue.Surroundings:
        used = []
        for packed_address, length in self._used:
            with contextlib.suppress(ValueError):
                used.append(ip_network((packed_address, length), strict=False))
        networks = [pools.network for pools in (self._core.known | self._planned).values()]
        return catalogue.Surroundings(
            networks=networks, used=used, ula=self._ula, pools=self._core.settings.pools
        )

    async def _enable_forwarding(self) -> None:
        has_ipv6 = any(pools.network.ipv6 for pools in self._core.known.values())
        marker = self._core.host.settings.run_dir / FORWARDING_MARKER
        try:
            if await self._core.in_thread(enable_forwarding, ipv6=has_ipv6):
                marker.touch()
        except OSError as error:
            self._core.host.warn(f"containers do not reach the world: no forwarding: {error}")
        self._core.table.closed_router = marker.exists()

    # Networks.

    def all(self) -> list[Network]:
        return [pools.network for pools in self._core.known.values()]

    def find(self, ref: str) -> Network:
        """As `Core.find`."""
        return self._core.find(ref)

    def endpoints_in(self, network: Network) -> list[tuple[str, Endpoint]]:
        """As `Core.endpoints_in`."""
        return self._core.endpoints_in(network)

    def is_wanted(self, network: Network, containers: Sequence[Container]) -> bool:
        """Whether any container, running or not, is to be in *network*."""
        for container in containers:
            for endpoint in joining.wanted_endpoints(container.config):
                if endpoint.network in (network.name, network.id):
                    return True
        return False

    async def create(self, request: NetworkRequest) -> Network:
        """Make a network.

        Raises:
            OrlopError: in dockerd's words.
        """
        await self._core.ready.wait()
        kernel = self._core.working()
        self._used = await self._core.in_thread(kernel.used_subnets)
        id_ = os.urandom(32).hex()
        network = catalogue.plan_network(request, self._surroundings(), id_, time.time_ns())
        pools = self._planned[id_] = joining.NetworkPools(network)
        try:
            async with self._turns.of(id_, TURN_LIMIT_S, BUSY):
                network = await self._make(pools)
        finally:
            del self._planned[id_]
        self._core.publish("create", network)
        return network

    async def _make(self, pools: joining.NetworkPools) -> Network:
        """What is planned, on file and in the kernel; known no more if that fails."""
        network, id_, kernel = pools.network, pools.network.id, self._core.working()
        try:
            found = await self._core.in_thread(kernel.find, network.interface)
            network = pools.network = replace(network, owns_interface=found is None)
            # On file before it is in the kernel, and the other way round when it is removed: so
            # there is never an interface that no engine knows.
            await asyncio.to_thread(self._store.save, network)
            if network.ipv6 and network.driver is Driver.BRIDGE:
                await self._core.in_thread(enable_forwarding, ipv6=True)
            await self._core.in_thread(kernel.bring_up, network)
            self._core.known[id_] = pools
            await self._core.change(add=network_rows(network))
        except (OSError, OrlopError) as error:
            self._core.known.pop(id_, None)
            await self._take_down(network)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._store.delete, id_)
            if isinstance(error, OrlopError):
                raise
            raise Internal(f"cannot create network {network.name}: {error}") from error
        return network

    async def remove(self, ref: str) -> Network:
        """Remove a network that nobody is in.

        Raises:
            Forbidden: it is predefined, or in use. NotFound: no such network.
        """
        await self._core.ready.wait()
        id_ = self._core.find(ref).id
        async with self._turns.of(id_, TURN_LIMIT_S, BUSY):
            # Not by name: another may have it by now.
            if id_ not in self._core.known:
                raise NotFound(f"network {ref} not found")
            return await self._remove(self._core.known[id_].network)

    async def _remove(self, network: Network) -> Network:
        if network.is_predefined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        if users := self._core.endpoints_in(network):
            names = " ".join(
                f'name:"{self._find_container(id_).name}" id:"{endpoint.id[:SHORT_ID]}"'
                for id_, endpoint in users
            )
            raise Forbidden(
                f"error while removing network: network {network.name} has active endpoints "
                f"({names})"
            )
        pools = self._core.known.pop(network.id)
        rows = network_rows(network)
        try:
            await self._core.change(delete=rows)
            await self._delete_interface(network)
            await asyncio.to_thread(self._store.delete, network.id)
        except (OSError, OrlopError) as error:
            # It is there as before, with the rules that keep it apart from others.
            self._core.known[network.id] = pools
            with contextlib.suppress(OrlopError):
                await self._core.change(add=rows)
            raise Internal(f"cannot remove network {network.name}: {error}") from error
        self._core.publish("destroy", network)
        return network

    async def _delete_interface(self, network: Network) -> None:
        kernel = self._core.kernel
        if kernel is not None and network.owns_interface and network.interface:
            await self._core.in_thread(kernel.delete_link, network.interface)

    async def _take_down(self, network: Network) -> None:
        try:
            await self._delete_interface(network)
        except OSError as error:
            self._core.host.warn(f"cannot delete interface {network.interface}: {error}, ignoring")
