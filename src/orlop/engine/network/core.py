"""What networks and containers in them share: the thread, the table, what is known."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orlop.engine.network.names import make_index
from orlop.engine.network.rules import network_rows
from orlop.engine.network.sandbox import udp_ports
from orlop.engine.network.table import Table
from orlop.lib.errors import InvalidArgument, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop.engine.host import Host
    from orlop.engine.network.joining import NetworkPools
    from orlop.engine.network.kernel import Kernel
    from orlop.engine.network.model import Endpoint, Network
    from orlop.engine.network.names import Index
    from orlop.engine.network.rules import Row
    from orlop.engine.network.sandbox import Sandbox
    from orlop.engine.settings import NetworkSettings


class Core:
    """Everything that decides runs on the event loop, at once; what the kernel has to do runs in
    one thread, in the order it was asked for.

    So two containers never get the same address, and an end before a start is one for the kernel,
    too.
    """

    def __init__(self, host: Host, settings: NetworkSettings) -> None:
        self.host = host
        self.settings = settings
        self.known: dict[str, NetworkPools] = {}
        self.sandboxes: dict[str, Sandbox] = {}
        self.kernel: Kernel | None = None
        self.ready = asyncio.Event()
        """Set when what an earlier engine left has been taken over."""
        self.failure = ""
        """Why there are no networks but host and none; empty when there are."""
        self.table = Table(
            settings.table,
            settings.nft,
            host.children,
            host.tasks,
            self._rows,
            self._forget_strayed,
        )
        self._names: dict[str, Index] = {}
        self._thread = ThreadPoolExecutor(1, "network")

    async def in_thread[T, **P](self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Have *work* done in the network thread, after what was asked for before."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close_thread(self) -> None:
        self._thread.shutdown(wait=False)

    def working(self) -> Kernel:
        """The kernel's sockets.

        Raises:
            Unavailable: container networks do not work here, and why.
        """
        if self.kernel is None or self.failure:
            raise Unavailable(self.failure or "container networks are not up yet")
        return self.kernel

    async def change(self, *, add: Sequence[Row] = (), delete: Sequence[Row] = ()) -> None:
        """Change the nftables table; see `Table.change`."""
        kernel = self.working()

        async def apply(new: Sequence[Row], old: Sequence[Row]) -> None:
            await self.in_thread(kernel.change_elements, new, old)

        await self.table.change(apply, add=add, delete=delete)

    async def _forget_strayed(self) -> None:
        """The table was written whole, so it may have been missing. A sender of datagrams that
        never pauses would go past the container, to the relay, for as long as the kernel remembers
        that nothing led it elsewhere.
        """
        ports = set[tuple[int, int]]().union(
            *(udp_ports(sandbox.state) for sandbox in self.sandboxes.values())
        )
        if ports and self.kernel is not None:
            await self.in_thread(self.kernel.forget_connections, (), ports, strayed=True)

    def find(self, ref: str) -> Network:
        """The network *ref*: a name, an id, or the beginning of one.

        Raises:
            NotFound: there is none. InvalidArgument: several begin like that.
        """
        networks = [pools.network for pools in self.known.values()]
        for network in networks:
            if ref in (network.id, network.name):
                return network
        matching = [network for network in networks if ref and network.id.startswith(ref)]
        if len(matching) > 1:
            raise InvalidArgument(
                f"network {ref[:80]} is ambiguous ({len(matching)} matches found on ID prefix)"
            )
        if not matching:
            raise NotFound(f"network {ref[:80]} not found")
        return matching[0]

    def endpoints_in(self, network: Network) -> list[tuple[str, Endpoint]]:
        """Ids and endpoints of the containers that are in *network* now."""
        return self.endpoints_of(network.id)

    def names_in(self, network_id: str) -> Index:
        """Endpoints in a network by name, kept until `endpoints_changed`."""
        index = self._names.get(network_id)
        if index is None:
            index = self._names[network_id] = make_index(self.endpoints_of(network_id))
        return index

    def endpoints_changed(self) -> None:
        """To be called when any container has come, gone or changed networks."""
        self._names.clear()

    def endpoints_of(self, network_id: str) -> list[tuple[str, Endpoint]]:
        """The same by the network's id."""
        found = []
        for sandbox in self.sandboxes.values():
            endpoint = sandbox.endpoint_in(network_id)
            if endpoint is not None:
                found.append((sandbox.container_id, endpoint))
        return found

    def publish(self, action: str, network: Network, container_id: str = "") -> None:
        """An event of type `network`."""
        attributes = {"name": network.name, "type": network.driver.value}
        if container_id:
            attributes = {"container": container_id, **attributes}
        self.host.events.publish("network", action, network.id, attributes)

    def _rows(self) -> list[Row]:
        rows = [row for pools in self.known.values() for row in network_rows(pools.network)]
        for sandbox in self.sandboxes.values():
            rows += sandbox.rows()
        return rows
