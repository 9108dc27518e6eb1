"""Volumes that an image asks for, filled from its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.store.archives import LayerBuilder, busybox_layer, config_of, docker_archive

if TYPE_CHECKING:
    from tests.engine.store.conftest import StoreEngine

pytestmark = [pytest.mark.root, pytest.mark.engine]


def test_volumes_of_an_image(bare: StoreEngine) -> None:
    data = LayerBuilder().directory("data", 0o750, uid=1000, gid=1000)
    layers = [busybox_layer(), data.add("data/seed", b"seed\n", uid=1000, mode=0o600).finish()]
    config = config_of(layers, Volumes={"/data": {}, "/empty": {}}, Labels={"from": "image"})
    bare.load(docker_archive(layers, ["vol:latest"], config))

    bare.create("one", ["sh", "-c", "cat /data/seed; echo more > /data/more"], Image="vol")
    mounts = {m["Destination"]: m for m in bare.inspect("one")["Mounts"]}
    assert set(mounts) == {"/data", "/empty"}
    assert {m["Type"] for m in mounts.values()} == {"volume"}
    path = bare.directory / "data/volumes" / mounts["/data"]["Name"] / "_data"
    assert (path / "seed").read_text() == "seed\n"
    assert ((path / "seed").stat().st_uid, path.stat().st_mode & 0o7777) == (1000, 0o750)
    assert bare.inspect("one")["Config"]["Labels"] == {"from": "image"}

    assert bare.request("POST", "/containers/one/start")[0] == 204
    assert bare.wait("one") == 0
    assert bare.logs("one") == b"seed\n"
    # Another one gets volumes of its own; a name for the place wins over the image's wish.
    host = {"Binds": ["named:/data"], "VolumesFrom": ["one"]}
    bare.run("two", ["cat", "/data/seed"], Image="vol", HostConfig=host)
    assert bare.wait("two") == 0
    shown = {m["Destination"]: m["Name"] for m in bare.inspect("two")["Mounts"]}
    assert shown["/data"] == "named"
    assert shown["/empty"] == mounts["/empty"]["Name"]
    assert bare.request("DELETE", "/containers/two?v=1")[0] == 204
    assert bare.request("DELETE", "/containers/one?v=1")[0] == 204
    _, answer = bare.request("GET", "/volumes")
    assert [volume["Name"] for volume in answer["Volumes"]] == ["named"]
