"""Small things that clients of dockerd are used to, each of which somebody's tests look at."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.lib import mount
from tests.engine.containers.engine_host import UnixConnection

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import EngineProcess

pytestmark = [pytest.mark.root, pytest.mark.engine]


def output(engine: EngineProcess, name: str, script: str, **fields: object) -> str:
    """What *script* prints in a container of its own."""
    engine.run(name, ["sh", "-c", script], **fields)
    engine.wait(name)
    return engine.logs(name).decode()


def test_a_container_that_removes_itself_can_be_restarted(engine: EngineProcess) -> None:
    engine.run("brief", ["sleep", "1000"], HostConfig={"AutoRemove": True})
    assert engine.request("POST", "/containers/brief/restart?t=0")[0] == 204
    assert engine.state("brief") == "running"
    engine.request("POST", "/containers/brief/kill")
    engine.wait_until(lambda: engine.request("GET", "/containers/brief/json")[0] == 404)


def test_a_kill_between_two_runs_is_the_last_word(engine: EngineProcess) -> None:
    policy = {"RestartPolicy": {"Name": "always"}}
    engine.run("again", ["false"], HostConfig=policy)
    engine.wait_until(lambda: engine.inspect("again")["RestartCount"] > 3)
    engine.wait_until(lambda: engine.state("again") == "restarting")
    assert engine.request("POST", "/containers/again/kill")[0] == 204
    assert engine.state("again") == "exited"


def test_who_runs_and_how_large_the_terminal_is(engine: EngineProcess) -> None:
    assert output(engine, "root", "id") == "uid=0(root) gid=0(root) groups=0(root)\n"
    size = {"HostConfig": {"ConsoleSize": [43, 132]}, "Tty": True}
    engine.run("screen", ["stty", "size"], **size)
    engine.wait("screen")
    assert engine.request("GET", "/containers/screen/logs?stdout=1")[1] == b"43 132\r\n"
    assert output(engine, "home", "echo $HOME", Env=["HOME="]) == "/root\n"
    engine.create("where", ["true"], WorkingDir="/tmp/")
    assert engine.inspect("where")["Config"]["WorkingDir"] == "/tmp"


def test_an_exec_is_for_a_user_that_is_there(engine: EngineProcess) -> None:
    engine.run("host", ["sleep", "1000"])
    target = "/containers/host/exec"
    status, answer = engine.request("POST", target, {"Cmd": ["id"], "User": "nobody-here"})
    text = "unable to find user nobody-here: no matching entries in passwd file"
    assert (status, answer["message"]) == (400, text)
    _, answer = engine.request("POST", target, {"Cmd": ["id"]})
    exec_id = answer["Id"]
    status, answer = engine.request("POST", f"/exec/{exec_id}/resize?h=-1&w=3")
    assert (status, answer["message"]) == (400, 'invalid resize height "-1": value out of range')
    engine.request("POST", "/containers/host/kill")
    engine.wait_until(lambda: engine.request("GET", f"/exec/{exec_id}/json")[0] == 404)


def test_a_volume_over_etc_leaves_the_engines_files(engine: EngineProcess) -> None:
    text = output(engine, "etc", "cat /etc/hostname", Hostname="named", Volumes={"/etc": {}})
    assert text == "named\n"


def test_a_bind_may_leave_what_is_mounted_below(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    mount.mount("tmpfs", tmp_path / "below", "tmpfs")
    try:
        (tmp_path / "below/file").touch()
        for name, alone in (("all", False), ("alone", True)):
            bind = {"Type": "bind", "Source": str(tmp_path), "Target": "/t"}
            options = {"BindOptions": {"NonRecursive": alone}}
            mounts = {"Mounts": [{**bind, **options}]}
            assert output(engine, name, "ls /t/below", HostConfig=mounts) == "file\n" * (not alone)
    finally:
        mount.unmount(tmp_path / "below")


def test_a_bind_of_the_engines_directory_follows_it(engine: EngineProcess) -> None:
    data = str(engine.directory)
    engine.create("inside", ["true"], HostConfig={"Binds": [f"{data}:/e", "/:/host:ro"]})
    shown = {m["Destination"]: m["Propagation"] for m in engine.inspect("inside")["Mounts"]}
    assert shown == {"/e": "rslave", "/host": "rslave"}
    body = {"Image": "busybox", "HostConfig": {"Binds": ["/:/host:rprivate"]}, "Cmd": ["true"]}
    status, answer = engine.request("POST", "/containers/create", body)
    assert (status, "must use either propagation mode" in answer["message"]) == (400, True)


def test_requests_that_are_none_are_refused_as_dockerd_does(engine: EngineProcess) -> None:
    connection = UnixConnection(engine.socket_path)
    answers = [
        ("POST", "/containers/x/exec", "{}", "text/plain", "unsupported Content-Type header"),
        ("POST", "/exec/x/start", "{oops", "application/json", "invalid character 'o'"),
        ("POST", "/containers/create", "{}{}", "application/json", "unexpected content after"),
        ("POST", "/containers/create", "{}", "application/json", "config cannot be empty"),
    ]
    for method, target, body, kind, message in answers:
        headers = {"Content-Type": kind, "Connection": "close"}
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        assert (response.status, message in response.read().decode()) == (400, True)
    connection.request("OPTIONS", "/anything")
    assert connection.getresponse().status == 200
    connection.close()


def test_a_probe_that_takes_too_long_says_what_it_had_to_say(engine: EngineProcess) -> None:
    check = {
        "Test": ["CMD-SHELL", "echo so far; sleep 60"],
        "Interval": 50_000_000,
        "Timeout": 50_000_000,
        "Retries": 1,
    }
    engine.run("slow", ["sleep", "1000"], Healthcheck=check)
    assert engine.inspect("slow")["Config"]["Healthcheck"] == check

    def log() -> list[str]:
        return [entry["Output"] for entry in engine.inspect("slow")["State"]["Health"]["Log"]]

    engine.wait_until(lambda: "Health check exceeded timeout (50ms): so far\n" in log())


def test_who_is_not_looked_after_is_unhealthy(engine: EngineProcess) -> None:
    check = {"Test": ["CMD", "true"], "Interval": 50_000_000}
    engine.run("patient", ["sleep", "1000"], Healthcheck=check)

    def health() -> str:
        return str(engine.inspect("patient")["State"]["Health"]["Status"])

    engine.wait_until(lambda: health() == "healthy")
    engine.request("POST", "/containers/patient/kill")
    engine.wait("patient")
    assert health() == "unhealthy"
    engine.request("POST", "/containers/patient/start")
    engine.wait_until(lambda: health() == "healthy")


def test_words_for_a_machine_without_apparmor(engine: EngineProcess) -> None:
    option = {"SecurityOpt": ["apparmor=unconfined"]}
    assert output(engine, "free", "echo here", HostConfig=option) == "here\n"


def test_what_is_shown_is_what_was_said(engine: EngineProcess) -> None:
    engine.create("plain", ["sh", "-c", "echo a b"])
    _, listed = engine.request("GET", "/containers/json?all=1")
    assert [each["Command"] for each in listed] == ["sh -c 'echo a b'"]
    assert "StopSignal" not in engine.inspect("plain")["Config"]
    engine.create("told", ["true"], StopSignal="SIGQUIT", Volumes={"/data": {}})
    config = engine.inspect("told")["Config"]
    assert (config["StopSignal"], config["Volumes"]) == ("SIGQUIT", {"/data": {}})


def test_long_requests_and_those_for_a_proxy(engine: EngineProcess) -> None:
    names = "&names=".join(f"registry.example.com/a/long/name/{n}:tag" for n in range(1900))
    assert engine.request("GET", f"/_ping?names={names}")[:2] == (200, b"OK")
    status, answer = engine.request("GET", "/_ping?" + "names=x&" * 3000)
    assert (status, "query" in answer["message"]) == (400, True)
    assert engine.request("GET", "http://docker/v1.45/_ping?x=http://y/")[:2] == (200, b"OK")


def test_a_crowd_that_comes_at_once_is_let_in(engine: EngineProcess) -> None:
    with contextlib.ExitStack() as crowd:
        os.kill(engine.pid, signal.SIGSTOP)
        try:
            clients = []
            for _ in range(600):
                client = crowd.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(os.fspath(engine.socket_path))  # BlockingIOError: no room
                client.send(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
                clients.append(client)
        finally:
            os.kill(engine.pid, signal.SIGCONT)
        for client in clients:
            client.settimeout(60)
            assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_what_create_refuses_in_dockerds_words(engine: EngineProcess) -> None:
    refused: list[tuple[dict[str, object], str]] = [
        ({"Volumes": {"/proc/sys": {}}}, "is inside /proc"),
        ({"HostConfig": {"ExtraHosts": ["a:b"]}}, 'invalid IP address in add-host: "b"'),
        ({"HostConfig": {"RestartPolicy": {"Name": "x"}}}, "use one of 'no', 'always'"),
        ({"HostConfig": {"UTSMode": "host"}, "Hostname": "x"}, "hostname and the UTS mode"),
    ]
    for fields, message in refused:
        body = {"Image": "busybox", "Cmd": ["true"], **fields}
        status, answer = engine.request("POST", "/containers/create", body)
        assert (status, message in answer["message"]) == (400, True), answer
    status, answer = engine.request("POST", "/containers/nobody/kill")
    text = "cannot kill container: nobody: No such container: nobody"
    assert (status, answer["message"]) == (404, text)
