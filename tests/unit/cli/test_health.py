"""`orlop health`: what is printed, and the exit status."""

import json
from typing import Any

import pytest

from orlop.cli.main import main
from tests.unit.cli.fake_engine import FakeEngine

CHECKS: list[dict[str, Any]] = [
    {"name": "engine", "kind": "built-in", "required": True, "status": "ok", "code": "ok"},
    {"name": "web", "kind": "http", "required": True, "status": "failed", "code": "status",
     "text": "answered with status 500"},
    {"name": "db", "kind": "state", "required": False, "status": "waiting", "code": "starting",
     "text": "has not passed its health check yet"},
]  # fmt: skip


@pytest.mark.parametrize(("verdict", "status"), [("green", 0), ("red", 1), ("yellow", 3)])
def test_exit_status(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], verdict: str, status: int
) -> None:
    answer = {"verdict": verdict, "code": "ok", "text": "", "checks": []}
    engine.answer("GET /orlop/health", answer)
    assert main(["health"]) == status
    assert capsys.readouterr().out == f"{verdict}: 0 of 0 checks are well\n"
    engine.answer("GET /orlop/health", answer)
    assert main(["health", "--json"]) == status
    assert json.loads(capsys.readouterr().out) == answer


def test_checks(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {"verdict": "red", "checks": CHECKS}
    engine.answer("GET /orlop/health", answer)
    assert main(["health"]) == 1
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["red:", "1", "of", "3", "checks", "are", "well"]
    assert lines[2] == ["x", "web", "required", "http", "answered", "with", "status", "500"]
    assert lines[3][:4] == ["~", "db", "wanted", "state"]
    assert len(lines) == 4
    engine.answer("GET /orlop/health", answer)
    main(["health", "--all"])
    assert "engine" in capsys.readouterr().out
