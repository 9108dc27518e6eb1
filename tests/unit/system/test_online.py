"""Waiting for the network, within a limit."""

import asyncio
from pathlib import Path

from orlop.system.config.configuration import Configuration
from orlop.system.network import online


def test_it_is_online_already(tmp_path: Path) -> None:
    (tmp_path / "online").write_text("")
    assert asyncio.run(online.wait(3600, str(tmp_path)))


def test_it_comes_online(tmp_path: Path) -> None:
    async def come() -> bool:
        waiting = asyncio.create_task(online.wait(3600, str(tmp_path)))
        await asyncio.sleep(0)
        (tmp_path / "hostname").write_text("a")
        (tmp_path / "online").write_text("")
        return await waiting

    assert asyncio.run(come())


def test_it_does_not(tmp_path: Path) -> None:
    assert not asyncio.run(online.wait(0, str(tmp_path)))


def test_limit() -> None:
    assert online.limit_s(Configuration()) == online.DEFAULT_LIMIT_S
    own = Configuration(data={"orlop": {"network": {"wait_online": 0}}})
    assert online.limit_s(own) == 0
