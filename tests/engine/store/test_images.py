"""Images come in, are shown, run, and go."""

from __future__ import annotations

import json
from urllib.parse import quote

from tests.engine.store.archives import (
    LayerBuilder,
    busybox_layer,
    config_of,
    digest,
    docker_archive,
    oci_archive,
    pack_with,
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


def test_layouts_of_the_oci_with_every_compression(engine: StoreEngine) -> None:
    layers = [busybox_layer(), LayerBuilder().add("one", b"1").finish(),
              LayerBuilder().add("two", b"2").finish()]  # fmt: skip
    compress = {0: "gzip", 1: "zstd"}
    archive = oci_archive(layers, compress=compress, name="oci.example/box:1", platforms=True)

    assert "Loaded image: oci.example/box:1" in engine.load(archive)

    engine.run("web", ["cat", "/one", "/two"], Image="oci.example/box:1")
    assert engine.wait("web") == 0
    assert engine.logs("web") == b"12"
    # What a registry will be sent: the layers' own bytes.
    for number, layer in enumerate(layers[:2]):
        packed = pack_with(layer, compress[number])
        assert (engine.store / "blobs" / digest(packed)[7:]).read_bytes() == packed


def test_progress_of_a_load(engine: StoreEngine) -> None:
    layer = LayerBuilder().add("x", bytes(5000)).finish()
    archive = docker_archive([busybox_layer(), layer], ["new:1"])

    status, answer = engine.send("POST", "/images/load?quiet=0", archive)

    lines = [json.loads(line) for line in answer.splitlines()]
    assert status == 200
    assert lines[0]["status"] == "Loading layer"
    assert lines[0]["id"] == digest(layer)[7:19]
    assert lines[0]["progressDetail"] == {"current": len(layer), "total": len(layer)}
    assert lines[1:] == [{"stream": "Loaded image: new:1\n"}]


def test_filters_of_the_list(engine: StoreEngine) -> None:
    labelled = config_of([busybox_layer()], Labels={"a": "b"})
    engine.load(docker_archive([busybox_layer()], ["host.example/team/app:2"], labelled))
    engine.load(docker_archive([]))

    def tags(filters: str) -> list[list[str]]:
        status, images = engine.request("GET", f"/images/json?filters={quote(filters)}")
        assert status == 200, images
        return sorted(image["RepoTags"] for image in images)

    app, box = ["host.example/team/app:2"], ["busybox:latest"]
    assert tags('{"reference":["busybox"]}') == [box]
    assert tags('{"reference":["host.example/*/app:*"]}') == [app]
    assert tags('{"label":["a=b"]}') == [app]
    assert tags('{"dangling":["true"]}') == [[]]
    assert tags('{"dangling":["false"]}') == [box, app]
    assert tags('{"until":["2020-01-01"]}') == []
    assert engine.request("GET", "/images/json?filters=%7B%22x%22%3A%5B%5D%7D")[0] == 400


def test_sizes_are_told(engine: StoreEngine) -> None:
    upper = LayerBuilder().add("x", bytes(5000)).finish()
    engine.load(docker_archive([busybox_layer(), upper], ["two:1"]))

    _, images = engine.request("GET", "/images/json?shared-size=1")
    _, usage = engine.request("GET", "/system/df?type=image")

    sizes = {image["RepoTags"][0]: (image["Size"], image["SharedSize"]) for image in images}
    base = sizes["busybox:latest"][0]
    assert sizes == {"busybox:latest": (base, base), "two:1": (base + 5000, base)}
    assert usage["LayersSize"] == base + 5000


def test_names_that_are_none(engine: StoreEngine) -> None:
    assert engine.request("GET", "/images/nothing/json") == (
        404, {"message": "No such image: nothing:latest"},
    )  # fmt: skip
    assert engine.request("GET", "/images/Upper/json")[0] == 400
    status, answer = engine.request("POST", "/images/busybox/tag?repo=Upper")
    assert (status, answer["message"]) == (
        400, "invalid reference format: repository name (library/Upper) must be lowercase",
    )  # fmt: skip


def test_as_many_layers_as_an_image_may_have(engine: StoreEngine) -> None:
    layers = [busybox_layer()]
    layers += [LayerBuilder().add(f"f{number}", b"x").finish() for number in range(126)]
    engine.load(docker_archive(layers, ["tall:1"]))

    engine.run("web", ["sh", "-c", "echo /f* | wc -w; touch /new"], Image="tall:1")

    assert engine.wait("web") == 0
    assert engine.logs("web") == b"126\n"
    _, found = engine.request("GET", "/containers/web/changes")
    assert found == [{"Path": "/new", "Kind": 1}]
