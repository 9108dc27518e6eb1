"""What the words of `orlop service add` stand for, and what is shown of the answer."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from orlop.cli.arguments import Arguments
from orlop.cli.main import main
from orlop.cli.service_add import source
from orlop.lib.errors import NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.fake_engine import FakeEngine

DIGEST = "sha256:" + "0" * 64
NO_OPTIONS = Arguments({}, [])


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("https://files.example/web.yml", {"url": "https://files.example/web.yml"}),
        ("oci://registry.example/web", {"reference": "registry.example/web"}),
        ("registry.example/web:1", {"reference": "registry.example/web:1"}),
        (f"web@{DIGEST}", {"reference": f"web@{DIGEST}"}),
        ("metrics", {"catalogue": "metrics", "from": ""}),
    ],
)
def test_what_a_word_stands_for(word: str, expected: dict[str, object]) -> None:
    assert source(word, NO_OPTIONS) == expected


def test_options_of_a_source() -> None:
    arguments = Arguments({"digest": "0" * 64, "catalogue": "/mnt/catalogue/"}, [])
    found = {"catalogue": "metrics", "from": "/mnt/catalogue", "digest": DIGEST}
    assert source("metrics", arguments) == found


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "web"
    path.write_text("services: {}")
    assert source(str(path), NO_OPTIONS) == {"name": str(path), "text": "services: {}"}
    with pytest.raises(NotFound, match="cannot read missing"):
        source("missing.yml", NO_OPTIONS)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"web: {image: x}")))
    assert source("-", NO_OPTIONS) == {"name": "stdin", "text": "web: {image: x}"}


def test_enable_adds_what_is_not_there(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "web.yml"
    path.write_text("services: {web: {image: x}}")
    engine.answer("GET /orlop/services", [{"name": "time"}])
    engine.answer("POST /orlop/services/enable", {"services": ["time"], "enabled": True})
    answer = {"services": ["web"], "enabled": ["web"], "file": "f", "notices": ["web.yml:1: mind"]}
    engine.answer("POST /orlop/services/add", answer)
    assert main(["service", "enable", "time", str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.out == "web: enabled\n"
    assert printed.err == "orlop: web.yml:1: mind\n"


@pytest.mark.parametrize("verb", ["build", "create", "dance", "rm", "kill"])
def test_what_cannot_be_done_says_what_can(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service", verb]) == 2
    assert "(try: " in capsys.readouterr().err
