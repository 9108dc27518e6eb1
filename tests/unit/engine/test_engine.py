"""The engine's own book-keeping, without a container that runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from orlop.engine.container.config import ContainerConfig
from orlop.engine.engine import Engine
from orlop.engine.images import Image
from orlop.engine.settings import EngineSettings

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = ContainerConfig(name="one", image="box", command=("true",))


def make_engine(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    settings = EngineSettings(run_dir=directory, data_dir=directory, images_dir=directory)
    engine = Engine(settings)
    image = Image(id="sha256:" + "0" * 64, name="box", lower=())
    monkeypatch.setattr(engine.images, "get", lambda reference: image)
    (directory / "containers").mkdir()
    engine.host.run_trash.start()
    engine.host.data_trash.start()
    return engine


def test_a_creation_that_is_cancelled_has_not_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        engine = make_engine(tmp_path, monkeypatch)
        reached = asyncio.Event()

        async def slow_disk() -> None:
            reached.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patched:
            patched.setattr(engine.host.records, "flush", slow_disk)
            creating = asyncio.ensure_future(engine.create(CONFIG))
            await reached.wait()
            creating.cancel()
            with pytest.raises(asyncio.CancelledError):
                await creating

        assert engine.all() == []
        assert not list((tmp_path / "containers").iterdir())
        await engine.remove_container(await engine.create(CONFIG))
        await engine.tasks.close()

    asyncio.run(main())


def test_names_are_free_after_renames_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        engine = make_engine(tmp_path, monkeypatch)
        id_ = await engine.create(CONFIG)

        await asyncio.gather(
            engine.rename_container(id_, "two"), engine.rename_container(id_, "three")
        )

        assert [name for name in ("one", "two", "three") if engine.has_name(name)] == ["three"]
        assert engine.get("three").id == id_
        await engine.tasks.close()

    asyncio.run(main())


def test_a_rename_that_outlives_its_container_frees_nobody_elses_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        engine = make_engine(tmp_path, monkeypatch)
        id_ = await engine.create(CONFIG)
        reached, goes_on = asyncio.Event(), asyncio.Event()

        async def slow_disk() -> None:
            reached.set()
            await goes_on.wait()

        with monkeypatch.context() as patched:
            patched.setattr(engine.host.records, "flush", slow_disk)
            renaming = asyncio.ensure_future(engine.rename_container(id_, "two"))
            await reached.wait()
        await engine.remove_container(id_)
        other = await engine.create(CONFIG)
        goes_on.set()
        await renaming

        assert engine.get("one").id == other
        await engine.tasks.close()

    asyncio.run(main())
