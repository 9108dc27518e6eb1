"""`docker cp` both ways, running and stopped, and with links that lead elsewhere."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from orlop.lib import mount
from tests.engine.containers.engine_host import UnixConnection

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import EngineProcess

pytestmark = [pytest.mark.root, pytest.mark.engine]


def fetch(
    engine: EngineProcess, name: str, path: str, method: str = "GET"
) -> tuple[int, Any, bytes]:
    """Status, the description in the header, and the body."""
    connection = UnixConnection(engine.socket_path)
    try:
        connection.request(method, f"/containers/{name}/archive?path={quote(path)}")
        response = connection.getresponse()
        header = response.getheader("X-Docker-Container-Path-Stat")
        described = json.loads(base64.b64decode(header)) if header else None
        return response.status, described, response.read()
    finally:
        connection.close()


def store(engine: EngineProcess, name: str, path: str, data: bytes, query: str = "") -> Any:
    """Status, and the message if it was refused."""
    connection = UnixConnection(engine.socket_path)
    try:
        target = f"/containers/{name}/archive?path={quote(path)}{query}"
        connection.request("PUT", target, data, {"Content-Type": "application/x-tar"})
        response = connection.getresponse()
        body = response.read()
        return response.status, json.loads(body)["message"] if response.status != 200 else ""
    finally:
        connection.close()


def archive(*entries: tuple[str, bytes, bytes | str], **fields: Any) -> bytes:
    """A tar of (name, kind, content or link)."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            for key, value in fields.items():
                setattr(info, key, value)
            if isinstance(content, str):
                info.linkname = content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return output.getvalue()


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: member for member in tar}


SCRIPT = """
mkdir -p /d/sub && echo one > /d/f && ln -s f /d/link && echo two > /d/sub/g
ln -s /etc/passwd /d/abs && chmod 4751 /d/f && mkfifo /d/pipe; ln -s / /up; echo ready
"""


@pytest.mark.parametrize("running", [True, False])
def test_out_of_a_container(engine: EngineProcess, running: bool) -> None:
    tail = "sleep 1000" if running else "true"
    engine.run("src", ["sh", "-c", f"{SCRIPT.replace('mkfifo', 'touch')} {tail}"])
    engine.wait_until(lambda: b"ready" in engine.logs("src"))
    if not running:
        engine.wait("src")

    status, described, data = fetch(engine, "src", "/d")
    assert (status, described["name"], described["mode"] >> 31) == (200, "d", 1)
    found = members(data)
    assert set(found) == {"d", "d/f", "d/link", "d/abs", "d/pipe", "d/sub", "d/sub/g"}
    assert (found["d/f"].mode, found["d/link"].linkname) == (0o4751, "f")
    # What follows a slash and a dot is the content, under the name of a dot.
    content = set(members(fetch(engine, "src", "/d/.")[2]))
    assert content == {".", *(f"./{name}" for name in ("f", "link", "abs", "pipe", "sub", "sub/g"))}
    status, described, _ = fetch(engine, "src", "/d/abs", "HEAD")
    assert (status, described["linkTarget"], described["mode"] >> 27 & 1) == (200, "/etc/passwd", 1)
    # A link to the root leads to the container's.
    assert set(members(fetch(engine, "src", "/up/d/f")[2])) == {"f"}
    status, _, body = fetch(engine, "src", "/no/such")
    container_id = engine.inspect("src")["Id"]
    message = f"Could not find the file /no/such in container {container_id}"
    assert (status, json.loads(body)["message"]) == (404, message)
    assert fetch(engine, "src", "")[0] == 400
    if not running:
        # Nothing stays mounted.
        engine.wait_until(lambda: container_id not in Path("/proc/self/mountinfo").read_text())


@pytest.mark.parametrize("running", [True, False])
def test_into_a_container(engine: EngineProcess, running: bool) -> None:
    volume = "kept"
    host = {"Binds": [f"{volume}:/vol", "/etc:/ro:ro"]}
    engine.create("dst", ["sleep", "1000"], HostConfig=host)
    if running:
        engine.request("POST", "/containers/dst/start")
    data = archive(("a", tarfile.REGTYPE, b"new\n"), uid=1000, gid=10, mode=0o640)
    assert store(engine, "dst", "/vol", data) == (200, "")
    path = engine.directory / f"data/volumes/{volume}/_data/a"
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1000, 10, 0o640)
    assert store(engine, "dst", "/tmp", data) == (200, "")
    assert store(engine, "dst", "/nowhere", data)[0] == 404
    assert store(engine, "dst", "/etc/passwd", data)[1] == "extraction point is not a directory"
    assert store(engine, "dst", "/ro", data)[0] == 403
    if not running:
        engine.request("POST", "/containers/dst/start")
    assert engine.execute("dst", ["cat", "/tmp/a"]) == (0, b"new\n")
    assert not (Path("/etc") / "a").exists()


def test_hostile_archives_stay_in_the_container(engine: EngineProcess) -> None:
    engine.run("jail", ["sleep", "1000"])
    outside = engine.directory / "outside"
    outside.mkdir()
    links = archive(
        ("esc", tarfile.SYMTYPE, os.fspath(outside)),
        ("esc/owned", tarfile.REGTYPE, b"x"),
    )
    assert store(engine, "jail", "/tmp", links)[0] == 500
    assert store(engine, "jail", "/", archive(("../up", tarfile.REGTYPE, b"x")))[0] == 400
    assert store(engine, "jail", "/", b"no archive at all" * 100)[0] == 400
    cut = archive(("f", tarfile.REGTYPE, b"x" * 5000))[:2000]
    assert store(engine, "jail", "/", cut)[0] == 400
    assert not list(outside.iterdir())
    dirs = archive(("etc", tarfile.REGTYPE, b"x"))
    status, message = store(engine, "jail", "/", dirs, "&noOverwriteDirNonDir=1")
    assert (status, message.startswith("Error processing tar file: cannot overwrite")) == (
        400,
        True,
    )
    assert engine.execute("jail", ["test", "-d", "/etc"])[0] == 0
    # A read-only container takes nothing.
    engine.create("fixed", ["true"], HostConfig={"ReadonlyRootfs": True})
    assert store(engine, "fixed", "/tmp", dirs)[0] == 403


def test_owner_of_the_container(engine: EngineProcess) -> None:
    engine.run("mine", ["sleep", "1000"], User="alice")
    data = archive(("f", tarfile.REGTYPE, b""), uid=7, gid=7)
    assert store(engine, "mine", "/tmp", data, "&copyUIDGID=1") == (200, "")
    assert engine.execute("mine", ["sh", "-c", "ls -ln /tmp/f"])[1].split()[2:4] == [
        b"1000",
        b"1000",
    ]


def test_a_large_file_comes_whole(engine: EngineProcess) -> None:
    engine.run("big", ["sh", "-c", "dd if=/dev/zero of=/big bs=1M count=64 2>&1; sleep 1000"])
    engine.wait_until(lambda: b"64" in engine.logs("big"))
    _, _, data = fetch(engine, "big", "/big")
    assert members(data)["big"].size == 64 << 20
    assert store(engine, "big", "/tmp", data) == (200, "")
    code, output = engine.execute("big", ["sh", "-c", "wc -c /tmp/big"])
    assert (code, output.split()[0]) == (0, str(64 << 20).encode())


def test_a_client_that_leaves_leaves_nothing(engine: EngineProcess) -> None:
    engine.run("left", ["sh", "-c", "dd if=/dev/zero of=/big bs=1M count=64 2>&1; sleep 1000"])
    engine.wait_until(lambda: b"64" in engine.logs("left"))
    connection = UnixConnection(engine.socket_path)
    connection.request("GET", "/containers/left/archive?path=/big")
    connection.getresponse().read(1000)
    connection.close()

    def workers() -> list[str]:
        children = Path(f"/proc/{engine.pid}/task/{engine.pid}/children").read_text().split()
        lines = [Path(f"/proc/{pid}/cmdline") for pid in children]
        return [p.name for p in lines if p.exists() and b"archive" in p.read_bytes()]

    engine.wait_until(lambda: not workers())


def test_a_container_starts_while_its_files_are_being_copied(engine: EngineProcess) -> None:
    engine.create("box", ["sleep", "1000"])
    connection = UnixConnection(engine.socket_path)
    connection.putrequest("PUT", "/containers/box/archive?path=/")
    connection.putheader("Content-Length", "10240")
    connection.endheaders()
    engine.wait_until(
        lambda: any(
            entry.fstype == "overlay" and entry.target.is_relative_to(engine.directory)
            for entry in mount.read_mounts()
        )
    )

    for _ in range(2):
        status, answer = engine.request("POST", "/containers/box/start")
        assert status == 204, answer
        assert engine.execute("box", ["cat", "/etc/hostname"])[0] == 0
        engine.request("POST", "/containers/box/kill")
    connection.send(bytes(10240))

    assert connection.getresponse().status == 200
    connection.close()
    assert store(engine, "box", "/", archive(("later", tarfile.REGTYPE, b"here"))) == (200, "")
    assert engine.request("POST", "/containers/box/start")[0] == 204
    assert engine.execute("box", ["cat", "/later"]) == (0, b"here")
