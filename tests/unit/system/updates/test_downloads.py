"""Downloads: whether there is room for all of a release is looked at before its first byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from orlop.lib.errors import ResourceExhausted
from orlop.system.updates import downloads
from orlop.system.updates.downloads import Downloads, missing_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.system.updates.sources import Source


class Nothing:
    def blob(self, path: str, *_: object) -> None:
        raise AssertionError(f"{path} was asked for")


def test_room_for_all_or_nothing_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.part").write_bytes(b"x" * 400)
    (tmp_path / "left over").write_bytes(b"x" * 400)
    asked: list[int] = []

    def full(needed: int) -> None:
        asked.append(needed)
        raise ResourceExhausted("full")

    monkeypatch.setattr(downloads, "check_room", full)
    blobs = [
        {"sha256": name, "size_bytes": size, "path": name} for name, size in (("a", 1000), ("b", 7))
    ]
    with pytest.raises(ResourceExhausted):
        Downloads(cast("Source", Nothing()), -1, "").run(blobs)
    assert asked == [607]
    assert [path.name for path in tmp_path.iterdir()] == ["a.part"]
    assert missing_bytes("a", 300) == 0, "it is longer than it should be, and begun anew"
