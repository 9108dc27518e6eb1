"""A service's settings: looked up with care, never a reason not to start."""

from pathlib import Path

import pytest

from orlop.services.settings import (
    integer_setting,
    list_setting,
    map_setting,
    read_settings,
    text_setting,
)


def test_read(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"remote": "udp://x", "n": 3, "list": ["a", 1], "map": {"k": "v"}}')
    settings = read_settings(str(path))
    assert text_setting(settings, "remote") == "udp://x"
    assert integer_setting(settings, "n", 7) == 3
    assert list_setting(settings, "list") == ["a"]
    assert map_setting(settings, "map") == {"k": "v"}


def test_wrong_types_are_as_missing() -> None:
    settings: dict[str, object] = {"a": 1, "b": "x", "c": True}
    assert text_setting(settings, "a") == ""
    assert list_setting(settings, "b") == []
    assert map_setting(settings, "b") == {}
    assert integer_setting(settings, "c", 7) == 7


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"null"])
def test_broken_files_are_no_settings(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    assert read_settings(str(path)) == {}


def test_no_file(tmp_path: Path) -> None:
    assert read_settings(str(tmp_path / "none")) == {}
