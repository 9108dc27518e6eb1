"""Volumes of real containers: content, life time, what is refused, and what `inspect` says."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import EngineProcess

pytestmark = [pytest.mark.root, pytest.mark.engine]


def create_volume(engine: EngineProcess, name: str, **fields: Any) -> dict[str, Any]:
    status, answer = engine.request("POST", "/volumes/create", {"Name": name, **fields})
    assert status == 201, answer
    assert isinstance(answer, dict)
    return answer


def volume_names(engine: EngineProcess, query: str = "") -> list[str]:
    status, answer = engine.request("GET", f"/volumes{query}")
    assert status == 200, answer
    return [volume["Name"] for volume in answer["Volumes"]]


def test_life_of_a_volume(engine: EngineProcess) -> None:
    created = create_volume(engine, "data", Labels={"tier": "db"})
    assert created["Driver"] == "local"
    assert created["Mountpoint"].endswith("/volumes/data/_data")
    assert created == engine.request("GET", "/volumes/data")[1]
    assert create_volume(engine, "data") == created

    engine.run("ww", ["sh", "-c", "echo kept > /data/file"], HostConfig={"Binds": ["data:/data"]})
    assert engine.wait("ww") == 0
    assert (Path(created["Mountpoint"]) / "file").read_text() == "kept\n"
    container_id = engine.inspect("ww")["Id"]
    status, answer = engine.request("DELETE", "/volumes/data")
    assert (status, answer["message"]) == (409, f"remove data: volume is in use - [{container_id}]")

    assert engine.request("DELETE", "/containers/ww?v=1")[0] == 204
    assert volume_names(engine) == ["data"]
    assert engine.request("DELETE", "/volumes/data")[0] == 204
    status, answer = engine.request("GET", "/volumes/data")
    assert (status, answer["message"]) == (404, "get data: no such volume")
    assert engine.request("DELETE", "/volumes/data?force=1")[0] == 204


def test_a_new_volume_is_filled_from_the_image(engine: EngineProcess, images: Path) -> None:
    place = images / "busybox/rootfs/srv/site"
    place.mkdir(parents=True)
    (place / "page").write_text("hello\n")
    os.chown(place / "page", 1000, 1000)
    (place / "page").chmod(0o640)
    (place / "link").symlink_to("page")
    os.link(place / "page", place / "again")
    capability = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)
    os.setxattr(place / "page", "security.capability", capability)
    place.chmod(0o751)
    os.chown(place, 1000, 10)
    host = {"Binds": ["site:/srv/site", "plain:/srv/site2:nocopy"]}
    engine.create("web", ["true"], HostConfig=host)

    data = engine.directory / "data/volumes/site/_data"
    status = data.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (1000, 10, 0o751)
    page = data / "page"
    assert (page.stat().st_uid, page.stat().st_mode & 0o7777) == (1000, 0o640)
    assert os.getxattr(page, "security.capability") == capability
    assert os.readlink(data / "link") == "page"
    assert (data / "again").stat().st_ino == page.stat().st_ino
    assert '"filling"' not in (data.parent / "volume.json").read_text()
    # A second container finds content, and nothing is copied over it.
    page.write_text("mine\n")
    engine.run("web2", ["cat", "/srv/site/page"], HostConfig={"Binds": ["site:/srv/site"]})
    engine.wait("web2")
    assert engine.logs("web2") == b"mine\n"
    # nocopy leaves it empty.
    engine.create("web3", ["true"], HostConfig={"Binds": ["empty:/srv/site:nocopy"]})
    assert not list((engine.directory / "data/volumes/empty/_data").iterdir())


def test_anonymous_volumes_go_with_their_container(engine: EngineProcess) -> None:
    engine.create("keeps", ["true"], Volumes={"/scratch": {}})
    engine.run("goes", ["touch", "/x/y"], Volumes={"/x": {}}, HostConfig={"AutoRemove": True})
    engine.wait_until(lambda: len(volume_names(engine)) == 1)
    mount = engine.inspect("keeps")["Mounts"][0]
    assert mount == {
        "Type": "volume",
        "Name": mount["Name"],
        "Source": str(engine.directory / f"data/volumes/{mount['Name']}/_data"),
        "Destination": "/scratch",
        "Driver": "local",
        "Mode": "",
        "RW": True,
        "Propagation": "",
    }
    labels = engine.request("GET", f"/volumes/{mount['Name']}")[1]["Labels"]
    assert labels == {"com.docker.volume.anonymous": ""}

    engine.request("DELETE", "/containers/keeps")
    assert volume_names(engine) == [mount["Name"]]
    engine.create("drops", ["true"], Volumes={"/scratch": {}})
    engine.request("DELETE", "/containers/drops?v=1")
    assert volume_names(engine) == [mount["Name"]]


def test_volumes_of_another_container(engine: EngineProcess) -> None:
    engine.create("store", ["true"], HostConfig={"Binds": ["shared:/a", "/tmp:/host:ro"]})
    script = "echo one > /a/file; touch /host/x"
    host = {"VolumesFrom": ["store"]}
    engine.run("user", ["sh", "-c", script], HostConfig=host)
    assert engine.wait("user") == 1
    engine.run(
        "reader", ["sh", "-c", "cat /a/file; touch /a/no"], HostConfig={"VolumesFrom": ["store:ro"]}
    )
    assert engine.wait("reader") == 1
    assert engine.logs("reader").startswith(b"one\n")
    # The image's files do not go into a volume that another container has, however empty it is.
    engine.create("owner", ["true"], HostConfig={"Binds": ["empty:/bin:nocopy"]})
    engine.create("taker", ["true"], HostConfig={"VolumesFrom": ["owner"]})
    empty = Path(engine.inspect("owner")["Mounts"][0]["Source"])
    assert list(empty.iterdir()) == []
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"VolumesFrom": ["nobody"]}}
    status, answer = engine.request("POST", "/containers/create", body)
    assert (status, answer["message"]) == (400, "No such container: nobody")


def test_mount_requests_and_subpaths(engine: EngineProcess) -> None:
    volume = Path(create_volume(engine, "tree")["Mountpoint"])
    (volume / "sub/deep").mkdir(parents=True)
    (volume / "sub/deep/f").write_text("deep\n")
    (volume / "out").symlink_to("/etc")
    options = {"Subpath": "sub/deep"}
    mounts: list[dict[str, Any]] = [
        {"Type": "volume", "Source": "tree", "Target": "/v", "VolumeOptions": options},
        {
            "Type": "tmpfs",
            "Target": "/t",
            "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700, "Options": [["exec"]]},
        },
        {"Type": "bind", "Source": "/etc", "Target": "/h", "ReadOnly": True},
    ]
    engine.run(
        "mm", ["sh", "-c", "cat /v/f; grep ' /t ' /proc/mounts"], HostConfig={"Mounts": mounts}
    )
    engine.wait("mm")
    output = engine.logs("mm").decode()
    assert output.startswith("deep\n")
    assert "noexec" not in output
    assert "size=1024k,mode=700" in output
    kinds = [(m["Type"], m["RW"], m["Mode"]) for m in engine.inspect("mm")["Mounts"]]
    assert kinds == [("volume", True, "z"), ("tmpfs", True, ""), ("bind", False, "")]
    # Soon: whoever waits for the end does not wait for what is undone after it.
    engine.wait_until(lambda: "/subpaths/" not in Path("/proc/self/mountinfo").read_text())

    escaping = [{**mounts[0], "VolumeOptions": {"Subpath": "out/ssl"}}]
    engine.create("ee", ["true"], HostConfig={"Mounts": escaping})
    status, answer = engine.request("POST", "/containers/ee/start")
    assert status == 400
    assert "path concatenation escapes the base directory" in answer["message"]


def test_a_part_of_a_volume_is_filled_if_it_is_empty(engine: EngineProcess) -> None:
    volume = Path(create_volume(engine, "parts")["Mountpoint"])
    for name in ("empty", "full"):
        (volume / name).mkdir()
    (volume / "full/mine").touch()
    for name in ("empty", "full", "missing"):
        part = {"Type": "volume", "Source": "parts", "VolumeOptions": {"Subpath": name}}
        engine.create(name, ["true"], HostConfig={"Mounts": [{**part, "Target": "/etc"}]})
    assert (volume / "empty/passwd").exists()
    assert sorted(os.listdir(volume / "full")) == ["mine"]
    assert engine.request("POST", "/containers/missing/start")[0] == 400
    assert sorted(os.listdir(volume)) == ["empty", "full"]


def test_a_killed_engine_leaves_no_part_of_a_volume_mounted(engine: EngineProcess) -> None:
    volume = Path(create_volume(engine, "tree")["Mountpoint"])
    (volume / "sub").mkdir()
    (volume / "sub/precious").touch()
    mount = {
        "Type": "volume",
        "Source": "tree",
        "Target": "/v",
        "VolumeOptions": {"Subpath": "sub"},
    }
    for name in ("ended", "stays"):
        engine.run(name, ["sleep", "1000"], HostConfig={"Mounts": [mount]})
    pid = engine.inspect("ended")["State"]["Pid"]
    engine.kill()
    os.kill(pid, 9)
    engine.start()
    engine.wait("ended")
    for name in ("ended", "stays"):
        assert engine.request("DELETE", f"/containers/{name}?force=1")[0] == 204
    engine.wait_until(lambda: not list((engine.directory / "run/trash").iterdir()))
    assert (volume / "sub/precious").exists()
    assert not list((engine.directory / "run/subpaths").iterdir())


def test_driver_options_mount_while_in_use(engine: EngineProcess) -> None:
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=2m,uid=1000"}
    volume = Path(create_volume(engine, "ram", DriverOpts=options)["Mountpoint"])
    engine.run("rr", ["sleep", "1000"], HostConfig={"Binds": ["ram:/r"]})
    code, output = engine.execute("rr", ["sh", "-c", "grep ' /r ' /proc/mounts"])
    assert (code, b"size=2048k,uid=1000" in output) == (0, True)
    engine.execute("rr", ["touch", "/r/shared"])
    engine.kill()
    engine.start()
    # Another container gets the same file system, not another one or the directory below it.
    engine.run("ss", ["ls", "/s"], HostConfig={"Binds": ["ram:/s"]})
    engine.wait("ss")
    assert engine.logs("ss") == b"shared\n"
    assert not list(volume.iterdir())
    engine.request("POST", "/containers/rr/kill")
    engine.wait("rr")
    engine.wait_until(lambda: "/run/volumes/" not in Path("/proc/self/mountinfo").read_text())

    for wrong, text in (
        ({"o": "ro"}, 'missing required option: "device"'),
        ({"colour": "red"}, 'invalid option: "colour"'),
        ({"size": "1g"}, "quota size requested but no quota support"),
    ):
        body = {"Name": "wrong", "DriverOpts": wrong}
        status, answer = engine.request("POST", "/volumes/create", body)
        assert (status, answer["message"]) == (400, text)
    create_volume(engine, "lost", DriverOpts={"type": "none", "o": "bind", "device": "/no/such"})
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Binds": ["lost:/l"]}}
    status, answer = engine.request("POST", "/containers/create?name=never", body)
    assert status == 500
    assert answer["message"].startswith("error while mounting volume '")
    assert engine.request("GET", "/containers/never/json")[0] == 404


def test_volumes_survive_the_engine(engine: EngineProcess) -> None:
    create_volume(engine, "lasting", Labels={"a": "b"})
    broken = Path(create_volume(engine, "broken")["Mountpoint"])
    (broken / "precious").touch()
    (broken.parent / "volume.json").write_text("{")
    half = Path(create_volume(engine, "half")["Mountpoint"])
    (half / "rest").touch()
    state = (half.parent / "volume.json").read_text().replace('"name"', '"filling":true,"name"')
    (half.parent / "volume.json").write_text(state)
    (engine.directory / "data/volumes/.orlop-1234").mkdir()
    engine.kill()
    engine.start()

    assert volume_names(engine) == ["broken", "half", "lasting"]
    assert engine.request("GET", "/volumes/lasting")[1]["Labels"] == {"a": "b"}
    assert (broken / "precious").exists()
    assert not (half / "rest").exists()
    assert not (engine.directory / "data/volumes/.orlop-1234").exists()


def test_filters_prune_and_disk_use(engine: EngineProcess) -> None:
    create_volume(engine, "one", Labels={"k": "1"})
    create_volume(engine, "two", Labels={"k": "2"})
    engine.create("cc", ["true"], HostConfig={"Binds": ["two:/x"]}, Volumes={"/y": {}})
    filters = '?filters={"dangling":["true"]}'
    assert volume_names(engine, filters) == ["one"]
    assert volume_names(engine, '?filters={"label":["k=2"]}') == ["two"]
    (engine.directory / "data/volumes/one/_data/f").write_bytes(b"x" * 5000)
    status, usage = engine.request("GET", "/system/df?type=volume")
    sizes = {v["Name"]: v["UsageData"] for v in usage["Volumes"]}
    assert sizes["one"] == {"Size": 5000, "RefCount": 0}
    assert sizes["two"]["RefCount"] == 1

    assert engine.request("POST", "/volumes/prune")[1] == {
        "VolumesDeleted": [],
        "SpaceReclaimed": 0,
    }
    status, answer = engine.request("POST", '/volumes/prune?filters={"all":["true"]}')
    assert answer == {"VolumesDeleted": ["one"], "SpaceReclaimed": 5000}
    for name, message in (
        ("x", "volume name is too short, names should be at least two alphanumeric characters"),
        ("a/b", 'create a/b: "a/b" includes invalid characters'),
    ):
        status, answer = engine.request("POST", "/volumes/create", {"Name": name})
        assert status == 400
        assert answer["message"].startswith(message)


def test_a_start_that_the_disk_refuses_leaves_nothing(engine: EngineProcess) -> None:
    options = {"type": "tmpfs", "device": "tmpfs"}
    create_volume(engine, "ram", DriverOpts=options)
    mounts = [{"Type": "volume", "Source": "ram", "Target": "/v"}]
    engine.create("box", ["sleep", "1000"], HostConfig={"Mounts": mounts})
    in_the_way = engine.directory / "run/volumes/ram"
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.touch()

    status, answer = engine.request("POST", "/containers/box/start")

    assert status == 500
    assert answer["message"].startswith("cannot start container box")
    assert engine.inspect("box")["State"]["Error"]
    in_the_way.unlink()
    assert engine.request("POST", "/containers/box/start")[0] == 204
