"""A network whose removal fails."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.engine.network.model import Driver, Network, PoolConfig
from orlop.engine.network.networks import Networks
from orlop.engine.network.rules import Row, network_rows
from orlop.lib.errors import Internal, OrlopError

if TYPE_CHECKING:
    from collections.abc import Sequence


POOLS = (PoolConfig(subnet="172.30.0.0/16", gateway="172.30.0.1"),)


@pytest.mark.parametrize("failing", ["table", "interface"])
def test_a_network_that_cannot_be_removed_is_there_as_before(failing: str) -> None:
    network = Network(
        id="id", name="net", driver=Driver.BRIDGE, created_ns=0, pools=POOLS, interface="br-net"
    )
    rows = network_rows(network)
    assert rows
    table = set(rows)

    async def change(*, add: Sequence[Row] = (), delete: Sequence[Row] = ()) -> None:
        if failing == "table" and delete:
            raise Internal("the kernel refused")
        table.difference_update(delete)
        table.update(add)

    async def delete_interface(network: Network) -> None:
        raise OSError(16, "Device or resource busy")

    core = SimpleNamespace(known={"id": "pools"}, endpoints_in=lambda network: [], change=change)
    networks: Any = SimpleNamespace(_core=core, _delete_interface=delete_interface)

    async def body() -> None:
        with pytest.raises(OrlopError):
            await Networks._remove(networks, network)

    asyncio.run(body())
    assert core.known == {"id": "pools"}
    assert table == set(rows)
