"""What a settings file says over the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orlop.engine.registry.job import Job, parse_job, to_json
from orlop.engine.registry.settings import KnownRegistry, Registries
from orlop.engine.settings_file import read
from orlop.wire.registry.proxies import Proxies

if TYPE_CHECKING:
    from pathlib import Path

BASE = Registries(mirrors=("https://one",), search="two", proxies=Proxies(http="http://p"))


def test_keys_count_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(
        json.dumps(
            {
                "registry_mirrors": ["https://three"],
                "insecure_registries": ["10.0.0.0/8"],
                "https_proxy": "q:3128",
                "no_proxy": ["a,b", ".c"],
                "registries": {"r:5000": {"username": "me", "password": "secret"}},
            }
        )
    )
    found = read(path, BASE)
    assert (found.mirrors, found.search) == (("https://three",), "two")
    assert found.insecure == ("10.0.0.0/8",)
    assert found.proxies == Proxies(http="http://p", https="http://q:3128", none=("a", "b", ".c"))
    assert found.find("r:5000") == KnownRegistry(host="r:5000", username="me", password="secret")
    assert found.find("r") is None
    assert "secret" not in repr(found)
    # A worker is told all of it.
    assert parse_job(to_json(Job(action="pull", registries=found))).registries == found


@pytest.mark.parametrize(
    "text", ["[", "[]", '{"registry_mirrors": 1}', '{"http_proxy": "socks5://x"}', "[" * 100_000]
)
def test_a_wrong_file_counts_for_nothing(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    assert read(path, BASE) == BASE
    assert "ignoring all of them" in caplog.text


def test_no_file_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(tmp_path / "none", BASE) == BASE
    assert caplog.text == ""
