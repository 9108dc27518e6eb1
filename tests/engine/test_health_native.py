"""The machine's health on a machine: its services, containers of the user's, the network."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.consoles_machine import consoles_machine, docker, orlop
from tests.engine.services.namespaces import NetworkNamespace
from tests.engine.test_config_native import config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.native_machine import NativeMachine

pytestmark = [pytest.mark.root, pytest.mark.engine]

REQUIRED = [
    {"name": "console", "state": "console"},
    {"name": "shell", "exec": ["/bin/sh", "-c", "exit 0"], "in": "console", "timeout": "60s"},
    {"name": "ours", "state": "ours", "engine": "user", "timeout": "60s"},
    {"name": "within", "exec": ["/bin/test", "-e", "/good"], "in": "ours", "timeout": "60s"},
    {"name": "hangs", "exec": ["/bin/sh", "-c", "sleep 1000"], "in": "ours", "timeout": "1s"},
    {"name": "nothing", "http": "http://127.0.0.1:9/"},
]


@pytest.fixture
def machine() -> Iterator[NativeMachine]:
    with consoles_machine() as running:
        yield running


def health(machine: NativeMachine) -> tuple[int, str, dict[str, tuple[str, str, bool]]]:
    """Exit status, verdict, and each check's status, code and weight."""
    done = orlop(machine, "health", "--json")
    assert done.stdout, (done, machine.log())
    answer: dict[str, Any] = json.loads(done.stdout)
    rows = {c["name"]: (c["status"], c["code"], c["required"]) for c in answer["checks"]}
    return done.returncode, answer["verdict"], rows


def test_health(machine: NativeMachine) -> None:
    code, verdict, rows = health(machine)
    assert (code, verdict) == (0, "green"), rows
    built_in = {"engine", "user's engine", "/var/lib/orlop writable", "service console", "clock"}
    assert built_in <= rows.keys()

    done = docker(
        machine, "run", "--detach", "--network=none", "--name=ours",
        "orlop/console:native", "sleep", "1000",
    ) if orlop(machine, "toolbox", "--", "/bin/true").returncode == 0 else None  # fmt: skip
    assert done is not None, machine.log()
    assert done.returncode == 0, done
    wanted = [{"name": "gone", "state": "gone"}]
    found = config(
        machine, "merge", "-", stdin=json.dumps({"orlop": {"health": {"required": REQUIRED,
        "wanted": wanted}}}),
    )  # fmt: skip
    assert found[0] == 0, found

    code, verdict, rows = health(machine)
    assert (code, verdict) == (1, "red"), (found, rows, config(machine, "show"))
    assert rows["console"] == rows["shell"] == rows["ours"] == ("ok", "ok", True)
    assert rows["within"] == ("failed", "status", True)
    assert rows["hangs"] == ("failed", "unreachable", True)
    assert rows["nothing"][0] == "failed"
    assert rows["gone"] == ("failed", "missing", False)
    # What hung was ended, and nothing is left of it.
    processes = machine.request("GET", "/orlop/status")[1]["health"]
    assert processes["verdict"] == "red"
    top = docker(machine, "top", "ours")
    assert b"sleep 1000" in top.stdout
    assert top.stdout.count(b"sleep") == 1, machine.log()[-3000:]

    assert docker(machine, "exec", "ours", "/bin/sh", "-c", ": >/good").returncode == 0
    NetworkNamespace(machine.pid).run("ip", "link", "set", "lo", "up")
    code, verdict, rows = health(machine)
    assert rows["within"] == ("ok", "ok", True)

    # The verdict's changes are events.
    done = orlop(machine, "events", "--system", "--filter", "type=machine", "--json")
    actions = [json.loads(line)["action"] for line in done.stdout.splitlines()]
    assert actions == ["health_status: green", "health_status: red"], done


def test_a_service_that_restarts_is_red(machine: NativeMachine) -> None:
    assert health(machine)[1] == "green"
    pid = machine.request("GET", "/containers/console/json")[1]["State"]["Pid"]
    machine.kill_inside(pid)

    def is_back(status: dict[str, Any]) -> bool:
        (console,) = (s for s in status["services"] if s["name"] == "console")
        return console["state"] == "running" and console["pid"] not in (0, pid)

    machine.wait_for(is_back)
    code, verdict, rows = health(machine)
    assert (code, verdict) == (1, "red"), sys.version
    assert rows["service console"] == ("failed", "flapping", True)
