"""Output in the pipes of containers whose engine is gone, with a process in the engine's place."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING

from orlop.engine.container.config import from_service
from orlop.engine.engine import State
from orlop.engine.tasks import TaskSet
from orlop.system import output_keeper
from orlop.system.output_keeper import OutputKeeper
from orlop.wire.compose import parse_service
from tests.unit.system.fake_engine import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FLAGS = os.O_RDWR | os.O_NONBLOCK


def read(path: Path) -> bytes:
    descriptor = os.open(path, FLAGS)
    try:
        return os.read(descriptor, 100)
    except BlockingIOError:
        return b""
    finally:
        os.close(descriptor)


def test_output_is_kept_from_the_death_of_one_engine_until_the_next_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_keeper, "HOLD_S", 0.1)
    (tmp_path / "one").mkdir()
    pipe = tmp_path / "one/stdout"
    os.mkfifo(pipe)

    async def body() -> None:
        tasks, engine = TaskSet(), FakeEngine()
        keeper = OutputKeeper(str(tmp_path), tasks)
        await engine.create(from_service(parse_service("engine", {})))
        tasks.start(keeper.follow(engine, "engine"), "keeper")
        await asyncio.sleep(0)
        container = os.open(pipe, FLAGS)
        process = subprocess.Popen(["sleep", "1000"])
        engine.change("engine", "start", pid=process.pid, state=State.RUNNING)
        while keeper._pidfd < 0:
            await asyncio.sleep(0.01)

        process.kill()
        async with asyncio.timeout(10):
            while not keeper._held:
                await asyncio.sleep(0.01)
        os.write(container, b"last words")
        os.close(container)
        assert read(pipe) == b"last words"

        held = keeper._held
        with subprocess.Popen(["sleep", "1000"]) as following:
            engine.change("engine", "start", pid=following.pid)
            async with asyncio.timeout(10):
                while held:
                    await asyncio.sleep(0.01)
            following.kill()
        process.wait()
        await tasks.close()

    asyncio.run(body())


def test_engines_that_die_one_soon_after_the_other_cost_each_pipe_one_descriptor(
    tmp_path: Path,
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        os.mkfifo(tmp_path / name / "stdout")
    held: list[int] = []
    output_keeper.open_pipes(str(tmp_path), held)
    assert len(held) == 2
    with open(os.open(tmp_path / "two/stdout", FLAGS), "wb", buffering=0) as container:
        container.write(b"words")

    os.unlink(tmp_path / "one/stdout")
    os.mkfifo(tmp_path / "one/stderr")
    output_keeper.open_pipes(str(tmp_path), held)

    assert read(tmp_path / "two/stdout") == b"words"
    assert len(held) == len({os.fstat(descriptor).st_ino for descriptor in held}) == 2
    output_keeper.close_all(held)


def test_what_is_held_stays_when_the_next_engine_dies_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_keeper, "HOLD_S", 0.0)
    (tmp_path / "one").mkdir()
    os.mkfifo(tmp_path / "one/stdout")

    async def body() -> None:
        tasks, engine = TaskSet(), FakeEngine()
        keeper = OutputKeeper(str(tmp_path), tasks)
        await engine.create(from_service(parse_service("engine", {})))
        engine.change("engine", "start", pid=1 << 30)
        for _ in range(3):
            keeper._watch(engine.get("engine"))  # its process has ended already
            async with asyncio.timeout(10):
                while len(tasks) or not keeper._held:
                    await asyncio.sleep(0)
        assert len(keeper._held) == 1
        output_keeper.close_all(keeper._held)

    asyncio.run(body())
