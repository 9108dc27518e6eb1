"""Containers whose root is nobody on the host: their files, volumes, copies and what is refused."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.store.archives import LayerBuilder, busybox_layer, config_of, docker_archive
from tests.engine.store.conftest import StoreEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

FIRST = 200_000


class RemappedEngine(StoreEngine):
    """As its user starts it, with numbers of its own for users."""

    def command_line(self) -> list[str | Path]:
        return [*super().command_line(), f"--userns-remap={FIRST}:65536"]


@pytest.fixture
def engine(images: Path) -> Iterator[RemappedEngine]:
    directory = Path(tempfile.mkdtemp(prefix="ue-"))
    process = RemappedEngine(directory, images)
    try:
        process.start()
        data = LayerBuilder().directory("data", 0o700, uid=1000, gid=1000)
        layers = [busybox_layer(), data.add("data/seed", b"seed\n", uid=1000).finish()]
        config = config_of(layers, Volumes={"/data": {}})
        process.load(docker_archive(layers, ["busybox:latest"], config))
        yield process
    finally:
        process.stop()
        print(process.log())
        shutil.rmtree(directory, ignore_errors=True)


def owner(path: Path) -> int:
    return path.lstat().st_uid


def test_root_is_nobody_on_the_host(engine: RemappedEngine) -> None:
    script = "id -u; touch /mine /data/new; chown 1000 /data/new; sleep 1000"
    engine.run("box", ["sh", "-c", script], HostConfig={"Binds": ["named:/named"]})
    engine.wait_until(lambda: engine.logs("box"))
    pid = engine.inspect("box")["State"]["Pid"]
    assert Path(f"/proc/{pid}").stat().st_uid == FIRST
    assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", str(FIRST), "65536"]
    code, text = engine.execute(
        "box", ["sh", "-c", "ls -ln /mine /data/seed /data/new /bin/busybox | sed 's/  */ /g'"]
    )
    found = {line.split()[-1]: line.split()[2] for line in text.decode().splitlines()}
    expected = {"/bin/busybox": "0", "/data/new": "1000", "/data/seed": "1000", "/mine": "0"}
    assert (code, found) == (0, expected)
    # Its own layer has the host's numbers, a volume those it would have anywhere.
    upper = Path(engine.inspect("box")["GraphDriver"]["Data"]["UpperDir"])
    assert owner(upper / "mine") == FIRST
    place = {m["Destination"]: Path(m["Source"]) for m in engine.inspect("box")["Mounts"]}["/data"]
    assert (owner(place), owner(place / "seed"), owner(place / "new")) == (1000, 1000, 1000)
    ports = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    assert engine.execute("box", ["cat", ports]) == (0, b"0\n")
    engine.request("POST", "/containers/box/kill")
    engine.wait("box")
    engine.wait_until(lambda: "/shifted/" not in Path("/proc/self/mountinfo").read_text())


@pytest.mark.parametrize("running", [True, False])
def test_copies_have_the_owners_of_the_container(engine: RemappedEngine, running: bool) -> None:
    engine.create("cp", ["sleep", "1000"], HostConfig={"Binds": ["named:/v"]})
    if running:
        assert engine.request("POST", "/containers/cp/start")[0] == 204
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        info = tarfile.TarInfo("f")
        info.uid, info.gid = 1000, 10
        tar.addfile(info)
    for path in ("/tmp", "/v"):
        status, answer = engine.send("PUT", f"/containers/cp/archive?path={path}", data.getvalue())
        assert status == 200, answer
    assert owner(engine.directory / "data/volumes/named/_data/f") == 1000
    upper = Path(engine.inspect("cp")["GraphDriver"]["Data"]["UpperDir"])
    assert owner(upper / "tmp/f") == FIRST + 1000
    for path in ("/tmp/f", "/v/f", "/data/seed", "/bin/busybox"):
        status, body = engine.request("GET", f"/containers/cp/archive?path={path}")
        assert status == 200
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            [member] = tar
        assert member.uid == (0 if path == "/bin/busybox" else 1000)


def test_commit_and_export_have_the_image_s_numbers(engine: RemappedEngine) -> None:
    engine.run("made", ["sh", "-c", "touch /mine; touch /alices; chown 1000 /alices"])
    engine.wait("made")
    status, body = engine.request("GET", "/containers/made/export")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        owners = {member.name: member.uid for member in tar}
    assert (owners["mine"], owners["alices"], owners["bin/busybox"]) == (0, 1000, 0)
    status, answer = engine.request("POST", "/commit?container=made&repo=derived&tag=1", {})
    assert status == 201, answer
    engine.run("again", ["sh", "-c", "ls -ln /mine /alices"], Image="derived:1")
    engine.wait("again")
    lines = engine.logs("again").decode().splitlines()
    assert {line.split()[-1]: line.split()[2] for line in lines} == {
        "/mine": "0",
        "/alices": "1000",
    }


def test_shared_namespaces(engine: RemappedEngine) -> None:
    engine.run("donor", ["sleep", "1000"], HostConfig={"IpcMode": "shareable"})
    engine.execute("donor", ["sh", "-c", "echo shared > /dev/shm/f"])
    host = {"IpcMode": "container:donor", "PidMode": "container:donor"}
    engine.run("guest", ["sh", "-c", "cat /dev/shm/f; kill -9 1; ps"], HostConfig=host)
    engine.wait("guest")
    assert engine.logs("guest").startswith(b"shared\n")
    assert b"sleep 1000" in engine.logs("guest")
    own = {"PidMode": "container:donor", "UsernsMode": "host"}
    engine.run("outsider", ["ps"], HostConfig=own)
    assert engine.wait("outsider") == 0


@pytest.mark.parametrize("network", ["none", "bridge"])
def test_low_ports_on_every_kind_of_network(engine: RemappedEngine, network: str) -> None:
    script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls /sys/class/net"
    engine.run("net", ["sh", "-c", script], User="alice", HostConfig={"NetworkMode": network})
    assert engine.wait("net") == 0
    assert engine.logs("net").startswith(b"0\n")


def test_what_a_namespace_excludes(engine: RemappedEngine) -> None:
    wrong: list[dict[str, object]] = [
        {"Privileged": True},
        {"NetworkMode": "host"},
        {"PidMode": "host"},
    ]
    for host in wrong:
        body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host}
        status, answer = engine.request("POST", "/containers/create", body)
        assert status == 400
        assert "user namespace" in answer["message"]
    own = {"Privileged": True, "UsernsMode": "host"}
    engine.run("real", ["cat", "/proc/self/uid_map"], HostConfig=own)
    assert engine.wait("real") == 0
    assert engine.logs("real").split() == [b"0", b"0", b"4294967295"]
    assert "name=userns" in engine.request("GET", "/info")[1]["SecurityOptions"]


def test_the_engine_may_be_killed_meanwhile(engine: RemappedEngine) -> None:
    engine.run("stays", ["sleep", "1000"])
    engine.kill()
    engine.start()
    assert engine.execute("stays", ["touch", "/x"]) == (0, b"")
    assert engine.request("DELETE", "/containers/stays?force=1&v=1")[0] == 204
    engine.wait_until(lambda: "/shifted/" not in Path("/proc/self/mountinfo").read_text())
    assert not os.listdir(engine.directory / "run/subpaths")
