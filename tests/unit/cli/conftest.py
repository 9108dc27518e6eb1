"""Fixtures of the command line's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.cli import client
from tests.unit.cli.fake_engine import FakeEngine


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    path = tmp_path / "system.sock"
    monkeypatch.setattr(client, "SOCKET_PATH", str(path))
    fake = FakeEngine(path)
    yield fake
    fake.close()
