"""PID 1 as a whole, in namespaces: boot, supervision, re-execution, configuration, shutdown."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.native_machine import NativeMachine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

SLEEP = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"]
STAY = {"command": SLEEP, "restart": "always"}


def says_goodbye(name: str) -> list[str]:
    """A program that writes its name to the machine's console when it is asked to stop."""
    return ["/bin/sh", "-c", f"trap 'echo [{name}] >/out; exit 0' TERM; while :; do sleep 1; done"]


@pytest.fixture
def machine() -> Iterator[NativeMachine]:
    services: dict[str, dict[str, Any]] = {
        "early": {**STAY, "x-orlop": {"stage": "early"}},
        "web": {**STAY, "depends_on": ["base"], "x-orlop": {"config": True}},
        "base": STAY,
        "once": {"command": ["/bin/true"]},
        "after": {
            **STAY,
            "depends_on": {"once": {"condition": "service_completed_successfully"}},
        },
        "healthy": {**STAY, "healthcheck": {"test": ["CMD", "/bin/true"], "interval": "1s"}},
        "patient": {**STAY, "depends_on": {"healthy": {"condition": "service_healthy"}}},
        "named": {**STAY, "x-orlop": {"condition": {"configured": "hostname"}}},
    }
    with NativeMachine(services) as running:
        yield running


def by_name(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {service["name"]: service for service in status["services"]}


def states(status: dict[str, Any]) -> dict[str, str]:
    return {name: service["state"] for name, service in by_name(status).items()}


def pids(status: dict[str, Any]) -> dict[str, int]:
    return {name: service["pid"] for name, service in by_name(status).items()}


ALL_UP = {
    "early": "running",
    "web": "running",
    "base": "running",
    "once": "done",
    "after": "running",
    "healthy": "running",
    "patient": "running",
    "named": "skipped",
}


def test_boot(machine: NativeMachine) -> None:
    status = machine.wait_ready()
    assert states(status) == ALL_UP
    assert by_name(status)["healthy"]["health"] == "healthy"
    assert by_name(status)["named"]["reason"] == "needs configured hostname"
    names = [stage["name"] for stage in status["stages"]]
    assert names[:4] == ["kernel", "python", "filesystems", "cgroups"]
    # The configuration is read while the engine starts.
    assert {*names[-4:-2]} == {"config", "engine"}
    assert names[-2:] == ["services", "ready"]
    times = [stage["uptime_s"] for stage in status["stages"]]
    assert times == sorted(times)
    assert status["hostname"] == "orlop"
    assert machine.path("/run/orlop/etc/hosts").read_text().startswith("127.0.0.1 localhost\n")
    # Besides the loop's only asyncio's pool, which waits for mounts and disks: min(32, CPUs + 4).
    threads = len(os.listdir(f"/proc/{machine.pid}/task"))
    assert threads <= 1 + min(32, (os.cpu_count() or 1) + 4)


def test_services_on_request(machine: NativeMachine) -> None:
    before = pids(machine.wait_ready())
    assert machine.request("POST", "/orlop/services/web/restart")[0] == 204
    assert machine.request("POST", "/orlop/services/base/stop")[0] == 204
    assert machine.request("POST", "/orlop/services/named/start")[0] == 204
    assert machine.request("POST", "/orlop/services/web/start")[0] == 304
    assert machine.request("POST", "/orlop/services/nobody/stop")[0] == 404
    status = machine.request("GET", "/orlop/status")[1]
    assert states(status) | {"base": "stopped", "named": "running"} == states(status)
    assert pids(status)["web"] not in (0, before["web"])
    assert pids(status)["early"] == before["early"]
    code, web = machine.request("GET", "/orlop/services/web")
    assert code == 200
    assert web["definition"]["depends_on"]["base"]["condition"] == "service_started"


def test_every_killed_process_comes_back(machine: NativeMachine) -> None:
    before = pids(machine.wait_ready())
    inside = machine.path("/proc")
    for entry in os.listdir(inside):
        if entry.isdecimal() and entry != "1":
            # The PID of the machine is not ours: look it up by the namespace's number.
            machine.kill_inside(int(entry))
    status = machine.wait_for(
        lambda found: all(
            service["state"] == "running" and service["pid"] not in (0, before[service["name"]])
            for service in found["services"]
            if before[service["name"]]
        )
    )
    assert by_name(status)["web"]["restarts"] >= 1


def test_reexecution_keeps_everything(machine: NativeMachine) -> None:
    before = machine.wait_ready()
    machine.request("POST", "/orlop/services/base/stop")
    assert machine.request("POST", "/orlop/reexec")[0] == 204
    status = machine.wait_for(
        lambda found: found["reexecutions"] == 1 and found["phase"] == "ready"
    )
    assert pids(status) == pids(before) | {"base": 0}
    assert states(status) == ALL_UP | {"base": "stopped"}
    assert status["stages"] == before["stages"]
    assert b"--resume=" in machine.path("/proc/1/cmdline").read_bytes()
    machine.kill_inside(pids(status)["web"])
    machine.wait_for(lambda found: pids(found)["web"] not in (0, pids(before)["web"]))
    machine.signal(signal.SIGUSR2)
    machine.wait_for(lambda found: found["reexecutions"] == 2 and found["phase"] == "ready")


def test_configuration_is_taken_at_run_time(machine: NativeMachine) -> None:
    before = pids(machine.wait_ready())
    conf = machine.path("/var/lib/orlop/conf.d")
    (conf / "10.yml").write_text(
        "hostname: ship\norlop:\n  services:\n    base: {enabled: false}\n"
    )
    (conf / "20.yml").write_text("hostname: oops\nhostnam: x\n")
    code, answer = machine.request("POST", "/orlop/config/reload")
    assert code == 200
    assert len(answer["problems"]) == 1
    assert "conf.d/20.yml:2: configuration: hostnam: unknown key" in answer["problems"][0]
    changed = {"base": "disabled", "named": "running"}
    status = machine.wait_for(lambda found: states(found) | changed == states(found))
    assert status["hostname"] == "ship"
    assert any("20.yml:2" in warning for warning in status["warnings"])
    assert pids(status)["early"] == before["early"]
    assert machine.path("/run/orlop/etc/hostname").read_text() == "ship\n"
    _, shown = machine.request("GET", "/orlop/config")
    assert shown["config"]["hostname"] == "ship"
    assert shown["origins"]["hostname"].endswith("10.yml:1")
    # What was whole once stands in for itself when it is broken.
    (conf / "10.yml").write_text("hostname: [oops\n")
    _, answer = machine.request("POST", "/orlop/config/reload")
    assert any("10.yml:2:1: " in problem for problem in answer["problems"])
    _, shown = machine.request("GET", "/orlop/config")
    assert shown["config"]["hostname"] == "ship"
    assert shown["origins"]["hostname"].endswith("conf.d%10.yml:1")
    assert by_name(machine.request("GET", "/orlop/status")[1])["base"]["state"] == "disabled"
    copy = machine.path("/var/lib/orlop/config/good/var%lib%orlop%conf.d%10.yml")
    assert copy.stat().st_mode & 0o777 == 0o600
    (conf / "10.yml").unlink()
    machine.request("POST", "/orlop/config/reload")
    assert not copy.exists()


def test_broken_definitions_do_not_stop_the_boot() -> None:
    services: dict[str, dict[str, Any]] = {
        "good": STAY,
        "typo": {**STAY, "comand": ["x"]},
        "left": {**STAY, "depends_on": ["right"]},
        "right": {**STAY, "depends_on": ["left"]},
        "lonely": {**STAY, "depends_on": ["ghost"]},
        "absent": {**STAY, "image": "nothing"},
        "wrong": {"command": ["/bin/no-such-program"], "restart": "always"},
    }
    with NativeMachine(services) as machine:
        status = machine.wait_ready()
        found = by_name(status)
        assert found["good"]["state"] == "running"
        assert "typo" not in found
        for name in ("left", "right", "lonely", "absent", "wrong"):
            assert found[name]["state"] == "failed", name
        assert "depends on itself: left -> right -> left" in found["left"]["reason"]
        assert "ghost" in found["lonely"]["reason"]
        warnings = "\n".join(status["warnings"])
        assert "images/typo/service.json: service typo: comand: unknown key" in warnings
        assert "service left depends on itself" in warnings


def test_a_vanished_socket_is_made_again(machine: NativeMachine) -> None:
    machine.wait_ready()
    machine.path("/run/orlop/system.sock").unlink()
    machine.signal(signal.SIGHUP)
    deadline_s = time.monotonic() + 60
    while not machine.path("/run/orlop/system.sock").exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    machine.wait_ready()


def test_shutdown_in_order() -> None:
    out = ["/dev/console:/out"]
    services: dict[str, dict[str, Any]] = {
        "last": {"command": says_goodbye("last"), "volumes": out, "x-orlop": {"stage": "early"}},
        "base": {"command": says_goodbye("base"), "volumes": out},
        "web": {"command": says_goodbye("web"), "volumes": out, "depends_on": ["base"]},
        "deaf": {
            "command": ["/bin/sleep", "1000"],  # as PID 1 of its namespace it ignores SIGTERM
            "volumes": out,
            "stop_grace_period": "1s",
        },
    }
    with NativeMachine(services) as machine:
        machine.wait_ready()
        assert machine.request("POST", "/orlop/poweroff")[0] == 202
        # reboot(2) in a PID namespace ends its init with SIGINT for poweroff, SIGHUP for reboot.
        assert machine.wait_end() in (-signal.SIGINT, 128 + signal.SIGINT)
        log = machine.log()
        assert log.index("[web]") < log.index("[base]") < log.index("[last]")
        assert "poweroff: asked for through the API" in log


@pytest.mark.parametrize(
    ("number", "end"), [(signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGHUP)]
)
def test_signals_end_the_machine(number: signal.Signals, end: signal.Signals) -> None:
    with NativeMachine({"web": STAY}) as machine:
        machine.wait_ready()
        machine.signal(number)
        assert machine.wait_end() in (-end, 128 + end)


def test_a_second_request_does_not_wait() -> None:
    deaf = {"command": ["/bin/sleep", "1000"], "stop_grace_period": "80s"}
    with NativeMachine({"deaf": deaf}) as machine:
        machine.wait_ready()
        began_s = time.monotonic()
        assert machine.request("POST", "/orlop/reboot")[0] == 202
        machine.signal(signal.SIGINT)
        assert machine.wait_end() in (-signal.SIGHUP, 128 + signal.SIGHUP)
        assert time.monotonic() - began_s < 60
        assert "not waiting any longer" in machine.log()


def test_without_any_service_there_is_still_an_api() -> None:
    with NativeMachine({}) as machine:
        assert machine.wait_ready()["services"] == []
        assert machine.request("GET", "/_ping")[0] == 200
        assert machine.request("GET", "/orlop/nothing")[0] == 404
