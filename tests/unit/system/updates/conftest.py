"""What several tests of updates begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.system.updates.offer_place import Place

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("os.fsync", lambda _: None)
    place = Place(tmp_path)
    place.lab.release(with_delta=True)
    return place
