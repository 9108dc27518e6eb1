"""A network that is being made."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.engine.network.catalogue import NetworkRequest
from orlop.engine.network.networks import Networks
from orlop.engine.settings import NetworkSettings
from orlop.lib.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orlop.engine.network.rules import Row

REQUEST = NetworkRequest(name="net")


class Kernel:
    """One in which there is nothing yet."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def used_subnets(self) -> list[tuple[bytes, int]]:
        return []

    def find(self, name: str) -> None:
        return None

    def bring_up(self, network: Any) -> None:
        self.made.append(network.interface)


def test_nobody_can_be_in_a_network_of_which_there_is_no_file(tmp_path: Path) -> None:
    """An engine that is killed before would leave the interface that a start makes."""
    kernel = Kernel()
    settings = SimpleNamespace(data_dir=tmp_path, run_dir=tmp_path)
    events = SimpleNamespace(publish=lambda *of: None)
    host: Any = SimpleNamespace(
        settings=settings, children=None, tasks=None, events=events, warn=print
    )
    saving, may_save = threading.Event(), threading.Event()

    async def change(*, add: Sequence[Row] = (), delete: Sequence[Row] = ()) -> None:
        assert add
        assert kernel.made

    async def body() -> None:
        networks = Networks(host, NetworkSettings(), lambda ref: None)  # type: ignore[arg-type,return-value]
        core: Any = networks._core
        core.kernel, core.change = kernel, change
        core.ready.set()
        networks._store.load()
        save: Callable[..., None] = networks._store.save

        def save_later(network: Any) -> None:
            saving.set()
            may_save.wait(30)
            save(network)

        networks._store.save = save_later  # type: ignore[method-assign]
        making = asyncio.create_task(networks.create(REQUEST))
        await asyncio.to_thread(saving.wait, 30)
        with pytest.raises(NotFound):
            core.find("net")
        with pytest.raises(Conflict):
            await networks.create(REQUEST)
        assert not kernel.made

        may_save.set()
        network = await making
        assert core.find("net") is network
        assert kernel.made == [network.interface]
        assert [found.id for found in networks._store.load()] == [network.id]
        core.close_thread()

    asyncio.run(body())
