"""`orlop reboot --lock` on a machine: windows, inhibitors, the fleet's server, draining."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.consoles_machine import ORLOP, consoles_machine, docker, orlop
from tests.engine.fleet_server import FleetServer
from tests.engine.services.namespaces import NetworkNamespace
from tests.engine.test_config_native import config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.native_machine import NativeMachine

pytestmark = [pytest.mark.root, pytest.mark.engine]


@pytest.fixture
def machine() -> Iterator[NativeMachine]:
    with consoles_machine() as running:
        assert orlop(running, "toolbox", "--", "/bin/true").returncode == 0  # brings an image
        yield running


def configure(machine: NativeMachine, **update: Any) -> None:
    done = config(machine, "merge", "-", stdin=json.dumps({"orlop": {"update": update}}))
    assert done[0] == 0, done


def refused(machine: NativeMachine) -> str:
    """Why the machine does not reboot."""
    done = orlop(machine, "reboot", "--lock")
    assert done.returncode == 75, (done, machine.log())
    return done.stderr.decode()


def check_a_hold(machine: NativeMachine) -> None:
    hold = machine.path("/var/lib/orlop/os/hold.json")
    hold.parent.mkdir(parents=True, exist_ok=True)
    hold.write_text('{"reason": "an audit", "at_s": 1.0}')
    assert "updates are held: an audit" in refused(machine)
    hold.unlink()


def test_reboot_with_a_lock(machine: NativeMachine, tmp_path: Path) -> None:
    check_a_hold(machine)
    # A window that is over, or begins in at least an hour.
    from time import gmtime

    configure(machine, windows=[{"start": f"{(gmtime().tm_hour + 2) % 24:02}:00", "length": "1m"}])
    assert "no update window is open; the next one opens at" in refused(machine)
    assert config(machine, "unset", "orlop.update.windows")[0] == 0

    options = ("--detach", "--network=none", "--label=org.orlop.inhibit=nightly dump")
    image = "orlop/console:native"
    assert docker(machine, "run", *options, "--name=dump", image, "sleep", "1000").returncode == 0
    assert "container user/dump inhibits it: nightly dump" in refused(machine)
    assert docker(machine, "rm", "--force", "dump").returncode == 0

    words = ("os", "inhibit", "--reason=moving volumes", "--", *ORLOP, "reboot", "--lock")
    done = orlop(machine, *words)
    assert (done.returncode, b"somebody inhibits it: moving volumes" in done.stderr) == (75, True)

    inside = NetworkNamespace(machine.pid)
    inside.run("ip", "link", "set", "lo", "up")
    with FleetServer(tmp_path, within=inside.command()) as server:

        def fleet(*words: str) -> dict[str, Any]:
            done = server.command(*words)
            assert done.returncode == 0, done
            found: dict[str, Any] = json.loads(done.stdout)
            return found

        lock = {"url": f"http://127.0.0.1:{server.port}"}
        configure(machine, lock=lock, drain="1m")
        fleet("pause", "default", "a freeze")
        assert "the group is paused: a freeze" in refused(machine)
        assert fleet("resume", "default")["holders"] == {}

        run = ("run", "--detach", "--network=none", "--volume=/var/lib/orlop/user/volumes:/made")
        label = "--label=org.orlop.pre-reboot=/bin/sh -c 'echo ready >/made/drained'"
        done = docker(machine, *run, label, "--name=web", image, "sleep", "1000")
        assert done.returncode == 0, done
        drained = machine.path("/var/lib/orlop/user/volumes/drained")
        held = machine.path("/var/lib/orlop/os/lock.json")
        done = orlop(machine, "reboot", "--lock")
        assert done.returncode == 0, (done, machine.log())
        assert drained.read_text() == "ready\n"
        assert json.loads(held.read_text())["going"] is True
        assert machine.wait_end() in (-signal.SIGHUP, 128 + signal.SIGHUP)  # a reboot
    with FleetServer(tmp_path) as server:
        (holder,) = server.person("GET", "/v1/groups/default")["holders"].values()
        assert (holder["phase"], holder["failed"]) == ("apply", "")
