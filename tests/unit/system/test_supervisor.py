"""Nothing ends PID 1's loop: errors of tasks, of callbacks, of the loop itself."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from orlop.system import supervisor
from orlop.system.supervisor import FAILURES_ALLOWED, LoopBrokenError, report, run_for_ever


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PAUSE_AFTER_FAILURE_S", 0)


def run(work: Any) -> None:
    loop = asyncio.new_event_loop()
    try:
        run_for_ever(work, loop)
    finally:
        loop.close()
        asyncio.set_event_loop(None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, ValueError])
def test_the_loop_goes_on(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    reached: list[str] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()

        def fail() -> None:
            raise error("thrown by a callback")

        loop.call_soon(fail)
        await asyncio.sleep(0.01)
        reached.append("afterwards")
        loop.stop()

    run(work)
    assert reached == ["afterwards"]
    assert "thrown by a callback" in caplog.text


def test_a_failing_main_task_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        asyncio.get_running_loop().call_later(0.01, asyncio.get_running_loop().stop)
        raise RuntimeError("the boot itself")

    run(work)
    assert "pid 1 failed" in caplog.text
    assert "the boot itself" in caplog.text


def test_a_broken_loop_is_given_up() -> None:
    calls: list[int] = []

    class Broken(asyncio.SelectorEventLoop):
        def run_forever(self) -> None:
            calls.append(1)
            raise OSError(9, "Bad file descriptor")

    loop = Broken()

    async def work() -> None:
        pass

    with pytest.raises(LoopBrokenError):
        run_for_ever(work, loop, lambda: 0.0)
    assert len(calls) == FAILURES_ALLOWED + 1
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_soon(loop.stop)
    asyncio.SelectorEventLoop.run_forever(loop)
    loop.close()
    asyncio.set_event_loop(None)


def test_reporting_without_memory(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.args and len(record.args) > 1:
                raise MemoryError

    handler = Raising()
    supervisor.log.addHandler(handler)
    try:
        report("something", ValueError("x"))
    finally:
        supervisor.log.removeHandler(handler)
    assert "something failed" in caplog.text
