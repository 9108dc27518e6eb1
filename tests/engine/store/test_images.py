"""Images come in, are shown, run, and go."""

from __future__ import annotations

from tests.engine.store.archives import (
    LayerBuilder,
    busybox_layer,
    config_of,
    digest,
    docker_archive,
)
from tests.engine.store.conftest import StoreEngine


def test_a_loaded_image_runs(engine: StoreEngine) -> None:
    engine.run("web", ["sh", "-c", "echo $FROM_IMAGE; touch /new && ls /"])

    assert engine.wait("web") == 0
    assert engine.logs("web").split() == [b"1", b"bin", b"dev", b"etc", b"new", b"proc", b"root",
                                          b"sys", b"tmp"]  # fmt: skip


def test_list_and_inspect_show_it(engine: StoreEngine) -> None:
    status, images = engine.request("GET", "/images/json")
    _, shown = engine.request("GET", "/images/busybox/json")

    layer = busybox_layer()
    assert status == 200
    assert [image["RepoTags"] for image in images] == [["busybox:latest"]]
    assert shown["Id"] == images[0]["Id"] == digest(config_of([layer]))
    assert shown["RootFS"] == {"Type": "layers", "Layers": [digest(layer)]}
    assert shown["Config"]["Env"] == ["PATH=/bin", "FROM_IMAGE=1"]
    assert shown["Created"] == "2024-05-06T07:08:09.123456789Z"


def test_upper_layers_hide_lower_ones(engine: StoreEngine) -> None:
    upper = LayerBuilder()
    upper.directory("etc").add("etc/.wh.group").add("etc/motd", b"upper\n")
    upper.directory("root").add("root/.wh..wh..opq").directory("tmp", 0o1777)
    base = LayerBuilder().directory("root").add("root/gone", b"x").finish()
    engine.load(docker_archive([busybox_layer(), base, upper.finish()], ["three:1"]))

    engine.run("web", ["sh", "-c", "ls /etc /root; cat /etc/motd"], Image="three:1")

    assert engine.wait("web") == 0
    words = engine.logs("web").split()
    assert b"group" not in words
    assert b"gone" not in words
    assert words[-1] == b"upper"


def test_tag_and_delete(engine: StoreEngine) -> None:
    assert engine.request("POST", "/images/busybox/tag?repo=host.example/my/box&tag=2")[0] == 201

    status, gone = engine.request("DELETE", "/images/busybox")
    assert (status, gone) == (200, [{"Untagged": "busybox:latest"}])

    status, gone = engine.request("DELETE", "/images/host.example/my/box:2")
    assert status == 200
    assert [next(iter(line)) for line in gone] == ["Untagged", "Deleted", "Deleted"]
    assert engine.request("GET", "/images/json") == (200, [])
    assert not list((engine.store / "layers").iterdir())
    assert not list((engine.store / "blobs").iterdir())


def test_the_store_outlives_the_engine(engine: StoreEngine) -> None:
    before = engine.request("GET", "/images/json")
    engine.kill()

    engine.start()

    assert engine.request("GET", "/images/json") == before
    engine.run("web", ["true"])
    assert engine.wait("web") == 0
