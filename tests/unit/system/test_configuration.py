"""What PID 1 makes of a worker that does not do its work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from orlop.lib.errors import DeadlineExceeded
from orlop.system.config.configuration import ask

if TYPE_CHECKING:
    from orlop.lib.children import Children


class Stuck:
    """A child that does not end, and whoever starts it."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    async def spawn_patiently(self, *_: object, **__: object) -> Stuck:
        return self

    async def wait(self) -> None:
        await asyncio.Event().wait()

    def send_signal(self, number: int) -> None:
        self.signals.append(number)


def test_a_worker_that_takes_too_long_is_killed_and_named() -> None:
    stuck = Stuck()
    with pytest.raises(DeadlineExceeded, match=r"^the config worker took longer than 0\.01 s$"):
        asyncio.run(ask(cast("Children", stuck), ["config"], 0.01))
    assert stuck.signals == [9]
