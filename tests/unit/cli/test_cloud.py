"""`orlop cloud`: what is printed about a data source."""

import json
from typing import Any

import pytest

from orlop.cli.main import main
from tests.unit.cli.fake_engine import FakeEngine

ANSWER: dict[str, Any] = {
    "source": "ec2",
    "instance_id": "i-1",
    "from": "the network",
    "took_ms": 120,
    "hostname": "ship",
    "network": {"nameservers": ["192.0.2.53"]},
    "ssh_keys": 2,
    "parts": [{"kind": "config", "name": "user-data", "bytes": 40}],
    "warnings": ["a\x1b[31m warning"],
    "asked": ["ec2"],
}


def shown(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], answer: Any, *words: str
) -> list[str]:
    engine.answer("GET /orlop/cloud", answer)
    assert main(["cloud", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_status(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(engine, capsys, ANSWER)
    assert lines[:3] == [
        "ec2, from the network, after 120 ms",
        "instance i-1",
        "user-data: config, 40 bytes",
    ]
    assert lines[3].startswith("warning: a")
    assert "\x1b" not in lines[3]
    assert shown(engine, capsys, ANSWER, "status") == lines


def test_show(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(engine, capsys, ANSWER, "show") == [
        "source: ec2",
        "instance_id: i-1",
        "hostname: ship",
        "ssh_keys: 2",
        "network:",
        "  nameservers:",
        '    - "192.0.2.53"',
    ]


def test_none(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    nothing: dict[str, Any] = {"source": None, "asked": []}
    assert shown(engine, capsys, nothing) == ["no data source"]
    waiting = {**nothing, "asked": ["ec2", "gce"]}
    assert shown(engine, capsys, waiting) == ["no data source has answered yet; asking ec2, gce"]


def test_json_and_nonsense(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads("\n".join(shown(engine, capsys, ANSWER, "--json"))) == ANSWER
    assert main(["cloud", "fly"]) == 2
