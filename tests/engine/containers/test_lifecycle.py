"""Containers from creation to removal, through the API."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.containers.engine_host import UnixConnection

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import EngineProcess

pytestmark = [pytest.mark.root, pytest.mark.engine]


def test_exit_code_and_output(engine: EngineProcess) -> None:
    engine.run("one", ["sh", "-c", "echo out; echo err >&2; exit 7"])

    assert engine.wait("one") == 7
    state = engine.inspect("one")["State"]
    assert (state["Status"], state["ExitCode"], state["Running"]) == ("exited", 7, False)
    assert engine.logs("one") == b"out\nerr\n"


def test_output_of_a_container_that_ends_at_once_is_whole(engine: EngineProcess) -> None:
    for number in range(10):
        name = f"quick{number}"
        engine.run(name, ["echo", name])
        assert engine.wait(name) == 0
        assert engine.logs(name) == f"{name}\n".encode()


def test_large_output_is_bounded_and_the_end_is_kept(engine: EngineProcess) -> None:
    engine.run("seq", ["seq", "300000"])

    assert engine.wait("seq") == 0
    lines = engine.logs("seq").splitlines()
    assert lines[-1] == b"300000"
    assert len(lines) < 300000
    logs = Path(engine.inspect("seq")["LogPath"]).parent
    assert sum(path.stat().st_size for path in logs.iterdir()) <= 3 * (256 << 10) + (64 << 10)


def test_program_that_does_not_exist(engine: EngineProcess) -> None:
    engine.create("bad", ["/no/such/program"])

    status, answer = engine.request("POST", "/containers/bad/start")

    assert status == 400
    assert "not found" in answer["message"] or "no such file" in answer["message"].lower()
    state = engine.inspect("bad")["State"]
    assert (state["Status"], state["ExitCode"]) == ("created", 127)
    engine.run("good", ["true"])
    assert engine.wait("good") == 0


def test_stop_gives_grace_and_then_kills(engine: EngineProcess) -> None:
    polite = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    stubborn = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    engine.run("polite", ["sh", "-c", polite])
    engine.run("stubborn", ["sh", "-c", stubborn])
    engine.wait_until(lambda: b"ready" in engine.logs("polite") and engine.logs("stubborn"))

    assert engine.request("POST", "/containers/polite/stop?t=30")[0] == 204
    assert engine.request("POST", "/containers/stubborn/stop?t=0")[0] == 204

    assert engine.inspect("polite")["State"]["ExitCode"] == 3
    assert b"bye" in engine.logs("polite")
    assert engine.inspect("stubborn")["State"]["ExitCode"] == 137
    assert engine.request("POST", "/containers/polite/stop")[0] == 304


def test_nothing_is_left_after_removal(engine: EngineProcess) -> None:
    container_id = engine.run("gone", ["sleep", "1000"])
    cgroup = engine.cgroup_root / "gone"
    assert cgroup.exists()
    assert engine.request("DELETE", "/containers/gone")[0] == 409

    assert engine.request("DELETE", "/containers/gone?force=1")[0] == 204

    assert engine.request("GET", "/containers/gone/json")[0] == 404
    assert not cgroup.exists()
    for base in ("run/containers", "run/runtime", "data/containers"):
        assert container_id not in {path.name for path in (engine.directory / base).iterdir()}
    assert container_id not in Path("/proc/self/mountinfo").read_text()
    engine.wait_until(lambda: not list((engine.directory / "data/trash").iterdir()))


def test_writable_layer_lives_as_long_as_the_container(engine: EngineProcess) -> None:
    engine.run("keeper", ["sh", "-c", "cat /mark; echo was here > /mark"])
    engine.wait("keeper")
    assert engine.request("POST", "/containers/keeper/start")[0] == 204
    engine.wait("keeper")

    assert engine.logs("keeper").endswith(b"was here\n")


def test_pause_stops_time_for_the_container(engine: EngineProcess) -> None:
    engine.run("ticker", ["sh", "-c", "while :; do echo tick; sleep 0.05; done"])
    engine.wait_until(lambda: engine.logs("ticker"))
    _, session = engine.request("POST", "/containers/ticker/exec", {"Cmd": ["true"]})

    assert engine.request("POST", "/containers/ticker/pause")[0] == 204
    assert engine.state("ticker") == "paused"
    events = engine.cgroup_root / "ticker/cgroup.events"
    engine.wait_until(lambda: "frozen 1" in events.read_text())
    assert engine.request("POST", "/containers/ticker/exec", {"Cmd": ["true"]})[0] == 409
    for body in ({"Detach": False}, {"Detach": True}):
        status, answer = engine.request("POST", f"/exec/{session['Id']}/start", body)
        assert status == 409
        assert "is paused, unpause the container before exec" in answer["message"]

    assert engine.request("POST", "/containers/ticker/unpause")[0] == 204
    start = f"/exec/{session['Id']}/start"
    assert engine.request("POST", start, {"Detach": True})[0] == 200  # it was not used up
    count = len(engine.logs("ticker"))
    engine.wait_until(lambda: len(engine.logs("ticker")) > count)


def test_paused_container_can_be_stopped_and_killed(engine: EngineProcess) -> None:
    for name, action in (("a1", "stop?t=1"), ("a2", "kill")):
        engine.run(name, ["sleep", "1000"])
        engine.request("POST", f"/containers/{name}/pause")
        assert engine.request("POST", f"/containers/{name}/{action}")[0] == 204
        engine.wait(name)
        assert engine.state(name) == "exited"


def test_restart_policy_brings_it_back_with_growing_delays(engine: EngineProcess) -> None:
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}
    engine.run("flaky", ["sh", "-c", "echo again; exit 1"], HostConfig=policy)

    engine.wait_until(lambda: engine.state("flaky") == "exited")

    assert engine.inspect("flaky")["RestartCount"] == 3
    assert engine.logs("flaky") == b"again\n" * 4


def test_killed_init_is_restarted_but_not_after_a_stop(engine: EngineProcess) -> None:
    always = {"RestartPolicy": {"Name": "always"}}
    engine.run("server", ["sleep", "1000"], HostConfig=always)
    first = engine.inspect("server")["State"]["Pid"]

    os.kill(first, 9)
    engine.wait_until(lambda: engine.inspect("server")["State"]["Pid"] not in (0, first))
    assert engine.request("POST", "/containers/server/stop?t=0")[0] == 204
    assert engine.state("server") == "exited"
    assert engine.inspect("server")["RestartCount"] == 1


def test_health_check_goes_from_starting_over_unhealthy_to_healthy(engine: EngineProcess) -> None:
    check = {"Test": ["CMD", "test", "-e", "/tmp/fine"], "Interval": 50_000_000, "Retries": 2}
    engine.run("patient", ["sleep", "1000"], Healthcheck=check)
    engine.wait_until(lambda: engine.inspect("patient")["State"]["Health"]["Status"] == "unhealthy")

    assert engine.execute("patient", ["touch", "/tmp/fine"])[0] == 0

    engine.wait_until(lambda: engine.inspect("patient")["State"]["Health"]["Status"] == "healthy")
    health = engine.inspect("patient")["State"]["Health"]
    assert health["FailingStreak"] == 0
    assert len(health["Log"]) <= 5


def test_exec_environment_user_and_status(engine: EngineProcess) -> None:
    engine.run("host", ["sleep", "1000"], Env=["COLOUR=blue"])

    code, output = engine.execute(
        "host",
        ["sh", "-c", "id -u; pwd; echo $COLOUR $SIZE; exit 9"],
        User="alice",
        WorkingDir="/tmp",
        Env=["SIZE=big"],
    )

    assert code == 9
    assert output == b"1000\n/tmp\nblue big\n"
    code, output = engine.execute("host", ["nonsense"])
    assert code == 127
    assert b"not found" in output


def test_a_container_has_only_what_it_needs(engine: EngineProcess) -> None:
    script = "grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status; ls /dev; ls /proc/1/fd | wc -l; id"
    engine.run(
        "bare",
        ["sh", "-c", script],
        User="alice",
        HostConfig={"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"]},
    )
    engine.wait("bare")

    output = engine.logs("bare").decode()
    fields = dict(line.split(":\t") for line in output.splitlines() if ":\t" in line)
    assert fields["CapEff"] == fields["CapBnd"] == fields["CapAmb"] == "0" * 16
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert "kmsg" not in output.split()
    # stdin, stdout, stderr, and the directory being listed.
    assert output.splitlines()[-2].strip() in ("3", "4")
    assert "uid=1000(alice) gid=1000(alice) groups=10(wheel)" in output


def test_read_only_root(engine: EngineProcess) -> None:
    script = "exec 2>&1; touch /x; touch /run/y && echo fine"
    host = {"ReadonlyRootfs": True, "Tmpfs": {"/run": "size=1m"}}
    engine.run("ro", ["sh", "-c", script], HostConfig=host)
    engine.wait("ro")

    assert engine.logs("ro") == b"touch: /x: Read-only file system\nfine\n"


def test_names_prefixes_and_rename(engine: EngineProcess) -> None:
    container_id = engine.create("first", ["true"])
    assert engine.inspect(container_id[:10])["Name"] == "/first"
    assert engine.request("POST", "/containers/create?name=first", {"Image": "busybox"})[0] == 400
    body = {"Image": "busybox", "Cmd": ["true"]}
    assert engine.request("POST", "/containers/create?name=first", body)[0] == 409

    assert engine.request("POST", "/containers/first/rename?name=second")[0] == 204

    assert engine.request("GET", "/containers/first/json")[0] == 404
    assert engine.inspect("second")["Id"] == container_id
    status, answer = engine.request("POST", "/containers/create?name=xx", {"Image": "no/such"})
    assert (status, answer["message"]) == (404, "No such image: no/such")


def test_broken_requests_are_answered_and_harm_nobody(engine: EngineProcess) -> None:
    cases: list[tuple[str, str, object, int]] = [
        ("GET", "/nonsense", None, 404),
        ("GET", "/v1.12/containers/json", None, 400),
        ("GET", "/containers/json?filters=%7B", None, 400),
        ("POST", "/containers/create?name=../x", {"Image": "busybox", "Cmd": ["true"]}, 400),
        ("POST", "/containers/create", {"Image": 5}, 400),
        ("POST", "/containers/create", {"Image": "busybox", "Cmd": {"a": 1}}, 400),
        ("POST", "/containers/create", [1], 400),
        ("POST", "/images/create?fromImage=x", None, 501),
        ("GET", "/containers/none/logs?stdout=1", None, 404),
    ]
    for method, target, body, expected in cases:
        status, answer = engine.request(method, target, body)
        assert status == expected, (target, answer)
        assert isinstance(answer["message"], str)
    assert engine.request("GET", "/_ping") == (200, b"OK")


def test_events_tell_the_story(engine: EngineProcess) -> None:
    engine.run("hero", ["true"])
    engine.wait("hero")
    engine.request("DELETE", "/containers/hero")

    status, content = engine.lines("GET", f"/events?since=1&until={time.time()}")

    assert status == 200
    assert [event["Action"] for event in content] == ["create", "start", "die", "destroy"]
    assert content[2]["Actor"]["Attributes"]["exitCode"] == "0"
    assert {event["Actor"]["Attributes"]["name"] for event in content} == {"hero"}


def test_stats_of_a_stopped_container_are_empty(engine: EngineProcess) -> None:
    engine.create("idle", ["true"])
    status, answer = engine.request("GET", "/containers/idle/stats?stream=0")
    assert (status, answer["memory_stats"]) == (200, {})


def test_pids_limit_holds_a_fork_bomb(engine: EngineProcess) -> None:
    controllers = (engine.cgroup_root / "cgroup.controllers").read_text().split()
    if "pids" not in controllers:
        pytest.skip("this host's cgroup2 hierarchy has no pids controller; the VM tests do this")
    bomb = "f() { f | f & }; f; sleep 1000"
    engine.run("bomb", ["sh", "-c", bomb], HostConfig={"PidsLimit": 64})
    assert engine.request("GET", "/_ping")[0] == 200
    assert engine.request("POST", "/containers/bomb/stop?t=0")[0] == 204
    assert engine.state("bomb") == "exited"


def test_forced_removal_of_a_container_that_is_being_started(engine: EngineProcess) -> None:
    for _ in range(3):
        engine.create("box", ["sleep", "1000"])
        starting = UnixConnection(engine.socket_path)
        starting.request("POST", "/containers/box/start")

        assert engine.request("DELETE", "/containers/box?force=1") == (204, b"")

        starting.getresponse()
        starting.close()
        assert engine.request("GET", "/containers/box/json")[0] == 404
