"""Looking at paths whose disk may not answer."""

from __future__ import annotations

import asyncio
import errno
import threading
from typing import TYPE_CHECKING

import pytest

from orlop.engine import disk
from orlop.lib.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def end(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Ends what hangs."""
    monkeypatch.setattr(disk, "LIMIT_S", 0.01)
    event = threading.Event()
    yield event
    event.set()


def test_what_is_seen_is_returned_and_what_is_wrong_is_raised() -> None:
    assert asyncio.run(disk.look("/a", lambda: 5)) == 5
    for error in (FileNotFoundError(), OSError(errno.ETIMEDOUT, "the server said so")):

        def fail(error: OSError = error) -> None:
            raise error

        for _ in range(2):  # and it is asked again
            with pytest.raises(type(error)):
                asyncio.run(disk.look("/a", fail))


def test_a_path_that_does_not_answer_is_asked_once(end: threading.Event) -> None:
    asked: list[int] = []

    def hang() -> None:
        asked.append(1)
        end.wait()

    async def scenario() -> None:
        for _ in range(3):
            with pytest.raises(Unavailable, match="/slow does not answer"):
                await disk.look("/slow", hang)
        assert await disk.look("/other", lambda: 1) == 1
        end.set()
        async with asyncio.timeout(60):
            while "/slow" in disk._hanging:
                await asyncio.sleep(0.01)  # leaves the processor to the thread
        assert await disk.look("/slow", lambda: 2) == 2

    asyncio.run(scenario())
    assert len(asked) == 1


def test_not_more_paths_than_may_hang_do(
    end: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "MAX_HANGING", 2)

    async def scenario() -> None:
        for number in range(2):
            with pytest.raises(Unavailable, match="does not answer"):
                await disk.look(f"/slow{number}", end.wait)
        with pytest.raises(Unavailable, match="other disks"):
            await disk.look("/fine", lambda: 1)
        end.set()
        async with asyncio.timeout(10):
            while disk._hanging:
                await asyncio.sleep(0)

    asyncio.run(scenario())


def test_many_that_ask_at_once_or_leave_make_one_thread(end: threading.Event) -> None:
    asked: list[int] = []

    def hang() -> None:
        asked.append(1)
        end.wait()

    async def scenario() -> None:
        looks = [asyncio.create_task(disk.look("/slow", hang)) for _ in range(5)]
        for outcome in await asyncio.gather(*looks, return_exceptions=True):
            assert isinstance(outcome, Unavailable)
        assert len(asked) == 1

        leaving = asyncio.create_task(disk.look("/other", hang))
        while len(asked) < 2:
            await asyncio.sleep(0)
        leaving.cancel()
        async with asyncio.timeout(10):
            while "/other" not in disk._hanging:
                await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="/other does not answer"):
            await disk.look("/other", hang)
        assert len(asked) == 2
        end.set()
        async with asyncio.timeout(10):
            while disk._hanging:
                await asyncio.sleep(0)

    asyncio.run(scenario())
