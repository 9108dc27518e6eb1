"""The one entry point decides which program a process is."""

import subprocess
import sys

import pytest

from orlop.__main__ import main, module_of


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        (["init"], ("orlop.system.main", [])),
        (["engine", "--run", "x"], ("orlop.engine.main", ["--run", "x"])),
        (["cli", "ps", "-a"], ("orlop.cli.main", ["ps", "-a"])),
        (["service", "syslog"], ("orlop.services.syslog.main", [])),
        (["worker", "config", "x"], ("orlop.system.config.worker", ["x"])),
        (["host", "build"], ("orlop.cli.host.main", ["build"])),
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


LATER = """
import sys
import orlop.__main__ as entry
sys.modules["inspect"] = entry._later_inspect()
import asyncio, inspect

async def work(): pass

class Object:
    async def method(self): pass

assert asyncio.iscoroutinefunction(work) and asyncio.iscoroutinefunction(Object().method)
assert not asyncio.iscoroutinefunction(print) and not asyncio.iscoroutinefunction(lambda: None)
assert "ast" not in sys.modules
assert str(inspect.signature(lambda a, b=1: None)) == "(a, b=1)"
from inspect import getsource, iscoroutinefunction
import functools
assert iscoroutinefunction(functools.partial(work)), "the real one"
assert "ast" in sys.modules and sys.modules["inspect"].getsource is getsource
try:
    inspect.nothing
except AttributeError:
    print("done")
"""


def test_inspect_is_loaded_when_it_is_used() -> None:
    command = [sys.executable, "-c", LATER]
    path = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=path, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")
