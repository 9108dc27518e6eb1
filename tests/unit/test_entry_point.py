"""The one entry point decides which program a process is."""

import pytest

from orlop.__main__ import main, module_of


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        (["init"], ("orlop.system.main", [])),
        (["engine", "--run", "x"], ("orlop.engine.main", ["--run", "x"])),
        (["cli", "ps", "-a"], ("orlop.cli.main", ["ps", "-a"])),
        (["service", "syslog"], ("orlop.services.syslog.main", [])),
        (["worker", "config", "x"], ("orlop.system.config_worker", ["x"])),
        (["host", "build"], ("orlop.cli.host", ["build"])),
        (["service", "../etc"], None),
        (["worker", "unknown"], None),
        (["unknown"], None),
        ([], None),
    ],
)
def test_programs(argv: list[str], found: object) -> None:
    assert module_of(argv) == found


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
