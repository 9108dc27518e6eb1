"""The catalogue as a machine uses it: PID 1 takes services from the index and runs them."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.catalogue.conftest import CATALOGUE
from tests.engine.native_machine import NativeMachine

if TYPE_CHECKING:
    from collections.abc import Iterator

INSIDE = "/var/lib/orlop/catalogue"
STAY = {"command": ["/bin/sh", "-c", "while :; do sleep 1; done"], "restart": "always"}


@pytest.fixture
def machine() -> Iterator[NativeMachine]:
    """A machine that has the catalogue on a disk."""
    with NativeMachine({"base": STAY}) as running:
        running.wait_ready()
        running.keep("/var/lib/orlop")
        # Entries that `--long` built are large and lie there too.
        shutil.copytree(
            CATALOGUE,
            running.path(INSIDE),
            ignore=shutil.ignore_patterns("debian", "docker"),
        )
        yield running


def post(machine: NativeMachine, verb: str, body: dict[str, Any]) -> Any:
    code, answer = machine.request("POST", f"/orlop/services/{verb}", body)
    assert code == 200, answer
    return answer


def entries() -> list[str]:
    index = json.loads((CATALOGUE / "index.json").read_text())
    return sorted(index["services"])


def test_every_service_is_added_and_metrics_are_served(machine: NativeMachine) -> None:
    for name in entries():
        answer = post(machine, "add", {"catalogue": name, "from": INSIDE})
        assert answer["services"] == [name]
    post(machine, "enable", {"names": ["metrics"]})

    def is_running(status: dict[str, Any]) -> bool:
        return any(
            service["name"] == "metrics" and service["state"] == "running"
            for service in status["services"]
        )

    machine.wait_for(is_running)
    fetched = fetch(machine, "http://127.0.0.1:9100/metrics")
    assert "node_memory_MemAvailable_bytes" in fetched


def fetch(machine: NativeMachine, url: str) -> str:
    """What the machine itself gets from *url*, as soon as somebody listens there."""
    command = ["nsenter", f"--target={machine.pid}", "--net"]
    script = (
        "import sys, time, urllib.request as r\n"
        "until = time.monotonic() + 60\n"
        "while True:\n"
        "    try: print(r.urlopen(sys.argv[1], timeout=60).read().decode()); break\n"
        "    except OSError as error:\n"
        "        if time.monotonic() > until: sys.exit(str(error))\n"
        "        time.sleep(0.1)\n"
    )
    done = subprocess.run(
        [*command, "python3.13", "-c", script, url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr + machine.log()
    return done.stdout
