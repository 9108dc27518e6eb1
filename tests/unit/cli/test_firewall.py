"""`orlop firewall`: what is printed."""

import json
from typing import Any

import pytest

from orlop.cli.main import main
from tests.unit.cli.fake_engine import FakeEngine

ANSWER: dict[str, Any] = {
    "enabled": True,
    "in_force": True,
    "policy": "drop",
    "log": True,
    "ports": ["22/tcp"],
    "rules": [
        {"action": "allow", "to": "machine", "ports": ["80/tcp", "53/udp"], "from": ["10.0.0.0/8"]},
        {"action": "reject", "to": "machine", "protocol": "icmp", "interfaces": ["eth*"]},
        {"action": "drop", "to": "containers"},
    ],
    "ruleset": "table inet orlop_host\n",
}


def shown(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], answer: Any, *words: str
) -> list[str]:
    engine.answer("GET /orlop/firewall", answer)
    assert main(["firewall", *words]) == 0
    return capsys.readouterr().out.splitlines()


def test_rules_in_order(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(engine, capsys, ANSWER) == [
        "allow  80/tcp, 53/udp from 10.0.0.0/8",
        "reject icmp by eth*",
        "drop   everything to what containers publish",
        "allow  22/tcp: ports of the system's services",
        "allow  what containers publish, and listen on in the machine's network",
        "drop   everything else, and write it to the log",
    ]


@pytest.mark.parametrize(
    ("change", "last"),
    [
        ({"policy": "accept"}, "allow  everything else"),
        ({"policy": "reject", "log": False}, "reject everything else"),
        ({"enabled": False}, "off: orlop.firewall.enabled is false"),
        ({"in_force": False}, "not in force: the kernel does not take the rules; see orlop status"),
    ],
)
def test_last_line(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], change: Any, last: str
) -> None:
    assert shown(engine, capsys, ANSWER | change)[-1] == last


def test_as_nft_and_as_json(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(engine, capsys, ANSWER, "ruleset") == ["table inet orlop_host"]
    assert json.loads("\n".join(shown(engine, capsys, ANSWER, "--json"))) == ANSWER
    assert main(["firewall", "open"]) == 2
    assert "orlop config set orlop.firewall.rules" in capsys.readouterr().err
