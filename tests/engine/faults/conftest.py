"""Fixtures: engines that something goes wrong with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.containers.conftest import engine, images, user_engine
from tests.engine.faults.hanging_disk import HangingDisk, hanging_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.containers.engine_host import UserEngine

__all__ = ["engine", "images", "user_engine"]


@pytest.fixture
def disk(user_engine: UserEngine) -> Iterator[HangingDisk]:
    """A disk at the directory `disk` of the user's engine; it answers until told to hang."""
    with hanging_disk(user_engine.directory / "disk") as made:
        yield made
        made.hang.clear()
