"""What is changed about a container while it runs."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from orlop.engine.container import changes
from orlop.engine.container.config import ContainerConfig, Resources
from orlop.engine.container.state import State
from orlop.lib import cgroup

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_kernel_may_take_its_time_for_a_smaller_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes away memory meanwhile: the loop goes on."""
    others_had_a_turn = threading.Event()

    def write(directory: Path, name: str, value: str) -> None:
        assert others_had_a_turn.wait(10)
        (directory / name).write_text(value)

    monkeypatch.setattr(cgroup, "write", write)
    stored: list[ContainerConfig] = []
    core: Any = SimpleNamespace(
        config=ContainerConfig(name="a", image="b"),
        record=SimpleNamespace(state=State.RUNNING),
        confinement=SimpleNamespace(cgroup=tmp_path),
        host=SimpleNamespace(controllers={"memory"}, warn=lambda text: None),
        replace_config=stored.append,
        publish=lambda action: None,
    )

    async def body() -> None:
        asyncio.get_running_loop().call_later(0, others_had_a_turn.set)
        await changes.update(core, None, Resources(memory_bytes=1 << 20))

    asyncio.run(body())
    assert (tmp_path / "memory.max").read_text() == "1048576"
    assert stored[0].resources.memory_bytes == 1 << 20
