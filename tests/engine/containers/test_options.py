"""What `docker run` takes, on real containers: each family of options once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import EngineProcess

pytestmark = [pytest.mark.root, pytest.mark.engine]


def output(engine: EngineProcess, name: str, script: str, **host: Any) -> str:
    """Run *script* with the options *host* to its end; what it wrote."""
    engine.run(name, ["sh", "-c", script], HostConfig=host)
    engine.wait(name)
    return engine.logs(name).decode()


def bundle(engine: EngineProcess, name: str) -> Any:
    """The OCI configuration of the last start."""
    container_id = engine.inspect(name)["Id"]
    return json.loads((engine.directory / f"run/containers/{container_id}/config.json").read_text())


def test_shared_namespaces(engine: EngineProcess) -> None:
    engine.run("donor", ["sleep", "1000"], HostConfig={"IpcMode": "shareable"})
    engine.execute("donor", ["sh", "-c", "echo shared > /dev/shm/f"])
    host = {"IpcMode": "container:donor", "PidMode": "container:donor"}
    text = output(engine, "guest", "cat /dev/shm/f; ps", **host)
    assert text.startswith("shared\n")
    assert "sleep 1000" in text
    donor_id = engine.inspect("donor")["Id"]
    assert engine.inspect("guest")["HostConfig"]["PidMode"] == f"container:{donor_id}"

    engine.run("closed", ["sleep", "1000"])
    engine.create("refused", ["true"], HostConfig={"IpcMode": "container:closed"})
    status, answer = engine.request("POST", "/containers/refused/start")
    assert status == 400
    assert "non-shareable IPC" in answer["message"]
    engine.request("POST", "/containers/donor/kill")
    engine.wait("donor")
    status, answer = engine.request("POST", "/containers/guest/start")
    reason = f"failed to join PID namespace: container {donor_id} is not running"
    assert (status, answer["message"]) == (500, reason)
    assert "/shm" not in Path("/proc/self/mountinfo").read_text().replace("/dev/shm", "")
    assert "/dev/shm" not in output(engine, "none", "cat /proc/mounts", IpcMode="none")


def test_an_init_reaps_and_forwards(engine: EngineProcess) -> None:
    text = output(engine, "reaper", "cat /proc/1/cmdline | tr '\\0' ' '; exit 9", Init=True)
    assert text.startswith("/sbin/docker-init -- sh -c")
    assert engine.inspect("reaper")["State"]["ExitCode"] == 9
    # A grandchild whose parent ends becomes init's, and is no zombie for long.
    script = (
        "trap 'echo term; exit 3' TERM; (sleep 0.1 &) ; echo ready; while :; do sleep 0.05; done"
    )
    engine.run("fw", ["sh", "-c", script], HostConfig={"Init": True})
    engine.wait_until(lambda: b"ready" in engine.logs("fw"))
    engine.wait_until(
        lambda: b" Z " not in engine.execute("fw", ["sh", "-c", "cat /proc/[0-9]*/stat"])[1]
    )
    assert engine.request("POST", "/containers/fw/stop?t=30")[0] == 204
    assert engine.inspect("fw")["State"]["ExitCode"] == 3
    assert b"term" in engine.logs("fw")
    engine.run("missing", ["/no/such"], HostConfig={"Init": True})
    assert engine.wait("missing") == 127


def test_devices_and_their_rules(engine: EngineProcess) -> None:
    host = {
        "Devices": [
            {"PathOnHost": "/dev/full", "PathInContainer": "/dev/mine", "CgroupPermissions": "r"}
        ],
        "DeviceCgroupRules": ["c 7:* rmw"],
    }
    assert "crw" in output(engine, "dev", "ls -l /dev/mine", **host)
    rules = bundle(engine, "dev")["linux"]["resources"]["devices"]
    assert {"allow": True, "type": "c", "major": 7, "access": "rmw"} in rules
    assert {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "r"} in rules
    engine.create("nodev", ["true"], HostConfig={"Devices": [{"PathOnHost": "/dev/nothing"}]})
    status, answer = engine.request("POST", "/containers/nodev/start")
    reason = 'adding custom device "/dev/nothing": no such file or directory'
    assert (status, answer["message"]) == (
        400,
        f"error gathering device information while {reason}",
    )


def test_limits_of_block_devices(engine: EngineProcess) -> None:
    """What they come to depends on the kernel; that they are set before the start does not."""
    host: dict[str, Any] = {"BlkioWeight": 100, "CgroupParent": "/disks"}
    engine.run("weighed", ["sleep", "1000"], HostConfig=host)
    assert engine.state("weighed") == "running"
    assert (engine.cgroup_root / "disks/weighed").exists()
    rates = [{"Path": "/dev/nothing", "Rate": 1}]
    engine.create("slow", ["true"], HostConfig={"BlkioDeviceReadBps": rates})
    status, answer = engine.request("POST", "/containers/slow/start")
    assert (status, answer["message"]) == (400, "no such block device: /dev/nothing")
    assert not (engine.cgroup_root / "slow").exists()


def test_a_seccomp_profile_of_the_request(engine: EngineProcess) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    profile = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    text = output(engine, "sec", "mkdir /x 2>&1", SecurityOpt=[f"seccomp={profile}"])
    assert "not supported" in text.lower()
    status = "grep Seccomp: /proc/self/status"
    assert output(engine, "open", status, SecurityOpt=["seccomp=unconfined"]).split()[-1] == "0"


def test_paths_and_kernel_parameters(engine: EngineProcess) -> None:
    script = "cat /proc/sys/kernel/msgmax; grep -c ' /proc/' /proc/mounts"
    text = output(
        engine,
        "sysctl",
        script,
        Sysctls={"kernel.msgmax": "9999"},
        MaskedPaths=[],
        ReadonlyPaths=[],
    )
    assert text == "9999\n0\n"


def test_anybody_may_listen_on_low_ports_and_ping(engine: EngineProcess) -> None:
    script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range"
    assert output(engine, "ports", script).split() == ["0", "0", "2147483647"]
    own = {"net.ipv4.ip_unprivileged_port_start": "80"}
    assert output(engine, "ports80", script, Sysctls=own).split()[0] == "80"


def test_tmpfs_and_bind_options(engine: EngineProcess) -> None:
    outer = engine.directory / "outer"
    (outer / "inner").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "x", outer / "inner"], check=True)
    script = "touch /b/inner/x 2>&1; touch /b/x 2>&1; grep ' /t ' /proc/mounts"
    text = output(
        engine,
        "tb",
        script,
        Binds=[f"{outer}:/b:ro"],
        Tmpfs={"/t": "exec,uid=1000,mode=711,size=64k"},
    )
    assert text.count("Read-only file system") == 2
    assert "noexec" not in text
    assert "size=64k,mode=711,uid=1000" in text


def test_cgroup_parent_and_annotations(engine: EngineProcess) -> None:
    engine.run(
        "nested",
        ["sleep", "1000"],
        HostConfig={"CgroupParent": "/group", "Annotations": {"note": "x"}},
    )
    pid = engine.inspect("nested")["State"]["Pid"]
    assert Path(f"/proc/{pid}/cgroup").read_text().strip().endswith("/group/nested")
    assert bundle(engine, "nested")["annotations"] == {"note": "x"}
    engine.request("DELETE", "/containers/nested?force=1")
    assert not (engine.cgroup_root / "group/nested").exists()


def test_log_drivers(engine: EngineProcess) -> None:
    assert output_of_none(engine) == (501, "configured logging driver does not support reading")
    path = engine.directory / "syslog"
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(os.fspath(path))
    server.settimeout(30)
    options = {
        "syslog-address": f"unixgram://{path}",
        "syslog-facility": "local3",
        "syslog-format": "rfc5424",
        "tag": "{{.Name}}/{{.ID}}",
    }
    host = {"LogConfig": {"Type": "syslog", "Config": options}}
    container_id = engine.run("sl", ["sh", "-c", "echo out; printf err >&2"], HostConfig=host)
    received = sorted(server.recv(4096).decode() for _ in range(2))
    server.close()
    tag = f"sl/{container_id[:12]}"
    # local3 is 19: 19*8 + 3 for stderr, 19*8 + 6 for stdout.
    assert received[0].startswith("<155>1 ")
    assert received[0].endswith(f" {tag} - err")
    assert received[1].startswith("<158>1 ")
    assert received[1].endswith(f" {tag} - out")
    engine.wait("sl")
    assert sorted(engine.logs("sl").splitlines()) == [b"err", b"out"]
    assert engine.inspect("sl")["HostConfig"]["LogConfig"] == host["LogConfig"]


def test_details_of_lines(engine: EngineProcess) -> None:
    options = {"labels": "a,none", "env-regex": "^O", "tag": "{{.Name}}"}
    host = {"LogConfig": {"Type": "json-file", "Config": options}}
    fields = {"Labels": {"a": "x y"}, "Env": ["OS=1", "B=2"]}
    engine.run("dt", ["sh", "-c", "echo one; echo two"], HostConfig=host, **fields)
    engine.wait("dt")
    prefix = b"OS=1,a=x+y,tag=dt "
    assert engine.logs("dt", "details=1") == prefix + b"one\n" + prefix + b"two\n"
    stamped = engine.logs("dt", "details=1&timestamps=1").splitlines()
    assert stamped[1].endswith(b"Z " + prefix + b"two")


def output_of_none(engine: EngineProcess) -> tuple[int, str]:
    engine.run("quiet", ["echo", "x"], HostConfig={"LogConfig": {"Type": "none"}})
    engine.wait("quiet")
    status, answer = engine.request("GET", "/containers/quiet/logs?stdout=1")
    return status, answer["message"]


def test_what_create_refuses(engine: EngineProcess) -> None:
    mount = {"Type": "bind", "Source": "/no/such", "Target": "/x"}
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Mounts": [mount]}}
    status, answer = engine.request("POST", "/containers/create", body)
    assert (status, answer["message"]) == (
        400,
        'invalid mount config for type "bind": bind source path does not exist: /no/such',
    )
    engine.create("nobody", ["true"], User="stranger")
    status, answer = engine.request("POST", "/containers/nobody/start")
    assert (status, answer["message"]) == (
        400,
        "unable to find user stranger: no matching entries in passwd file",
    )


def test_inspect_says_what_was_asked(engine: EngineProcess) -> None:
    host = {
        "Binds": ["/usr:/t:ro"],
        "Memory": 64 << 20,
        "Dns": ["1.1.1.1"],
        "CapAdd": ["NET_ADMIN"],
        "SecurityOpt": ["no-new-privileges"],
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
    }
    engine.create("shown", ["true"], HostConfig=host, ExposedPorts={"80/tcp": {}})
    shown = engine.inspect("shown")
    for key, value in host.items():
        assert shown["HostConfig"][key] == value
    assert shown["HostConfig"]["MemorySwap"] == 128 << 20
    assert shown["HostConfig"]["DeviceRequests"] is None
    assert shown["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert shown["Mounts"] == [
        {
            "Type": "bind",
            "Source": "/usr",
            "Destination": "/t",
            "Mode": "ro",
            "RW": False,
            "Propagation": "rprivate",
        }
    ]


def test_attach_by_websocket(engine: EngineProcess) -> None:
    engine.create("ws", ["sh", "-c", "read x; echo got $x; exit 4"], OpenStdin=True, StdinOnce=True)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(os.fspath(engine.socket_path))
    client.sendall(
        b"GET /containers/ws/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(4096)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    assert engine.request("POST", "/containers/ws/start")[0] == 204
    client.sendall(b"\x82\x83\0\0\0\0hi\n")
    received = b""
    while data := client.recv(4096):
        received += data
    client.close()
    assert received == b"\x82\x07got hi\n" + b"\x88\x02\x03\xe8"
    assert engine.wait("ws") == 4
    assert engine.request("GET", "/containers/ws/attach/ws?stream=1")[0] == 400


def test_update_and_its_refusals(engine: EngineProcess) -> None:
    engine.run("up", ["sleep", "1000"], HostConfig={"Memory": 64 << 20, "NanoCpus": 10**9})
    status, answer = engine.request("POST", "/containers/up/update", {"Memory": 256 << 20})
    assert status == 400
    assert answer["message"].startswith("Memory limit should be smaller than already set")
    body = {"CpuQuota": 50_000}
    status, answer = engine.request("POST", "/containers/up/update", body)
    assert answer["message"].startswith("Conflicting options: CPU Quota cannot be updated as Nano")
    policy = {"Name": "on-failure", "MaximumRetryCount": 2}
    changes = {"PidsLimit": 9, "RestartPolicy": policy}
    status, answer = engine.request("POST", "/containers/up/update", changes)
    assert status == 200
    host = engine.inspect("up")["HostConfig"]
    assert (host["PidsLimit"], host["RestartPolicy"]) == (9, policy)
    for name in ("up", ""):
        assert engine.request("POST", f"/containers/up/rename?name={name}")[0] == 400


def test_listing_filters(engine: EngineProcess) -> None:
    for name in ("apple", "apricot", "plum"):
        engine.create(name, ["true"], Labels={"first": name[0]})

    def names(filters: dict[str, list[str]]) -> list[str]:
        target = f"/containers/json?all=1&filters={json.dumps(filters)}".replace(" ", "")
        status, rows = engine.request("GET", target)
        assert status == 200, rows
        return [row["Names"][0][1:] for row in rows]

    assert names({"name": ["^/ap"]}) == ["apricot", "apple"]
    assert names({"name": ["^plum$"]}) == ["plum"]
    assert names({"ancestor": ["busybox"], "label": ["first=p"]}) == ["plum"]
    assert names({"before": ["plum"], "since": ["apple"]}) == ["apricot"]
    assert names({"status": ["running"]}) == []
    target = '/containers/json?filters={"status":["odd"]}'
    assert engine.request("GET", target) == (
        400,
        {
            "message": "invalid filter 'status=odd': invalid value for state (odd): must be one of "
            "created, running, paused, restarting, removing, exited, dead"
        },
    )


def test_what_inspect_remembers_is_what_there_is(engine: EngineProcess) -> None:
    """With sizes nothing is remembered: both answers are the same, whatever changes in between."""
    name = engine.run("up", ["sleep", "1000"], HostConfig={"Memory": 64 << 20})

    def check() -> dict[str, Any]:
        shown = engine.inspect(name)
        status, fresh = engine.request("GET", f"/containers/{name}/json?size=1")
        assert status == 200
        assert fresh.pop("SizeRw") >= 0
        assert fresh.pop("SizeRootFs") >= 0
        assert list(shown.items()) == list(fresh.items())
        return shown

    assert check()["State"]["Running"]
    engine.request("POST", f"/containers/{name}/rename?name=other")
    assert check()["Name"] == "/other"
    changes = {"PidsLimit": 9, "RestartPolicy": {"Name": "always"}}
    engine.request("POST", f"/containers/{name}/update", changes)
    assert check()["HostConfig"]["PidsLimit"] == 9
    engine.request("POST", f"/containers/{name}/stop?t=0")
    assert check()["State"]["ExitCode"] == 137
    engine.request("POST", f"/containers/{name}/start")
    assert check()["State"]["Running"]
