"""Images and archives that are made here: save, commit, import, export, changes."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

from tests.engine.store.archives import (
    LayerBuilder,
    busybox_layer,
    config_of,
    digest,
    docker_archive,
)
from tests.engine.store.conftest import StoreEngine

SCRIPT = """
echo new > /new; mkdir -p /etc/dir/sub; echo x > /etc/dir/sub/f; rm /etc/group
rm -r /root; mkdir /root; echo y > /root/f; ln /new /hard; ln -s new /soft
echo changed >> /etc/passwd
"""


def open_tar(data: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(data))


def test_save_gives_back_what_was_loaded(engine: StoreEngine) -> None:
    upper = LayerBuilder().add("etc/motd", b"hello").finish()
    layers = [busybox_layer(), upper]
    config = config_of(layers, Labels={"a": "b"})
    engine.load(docker_archive(layers, ["two:1", "two:2", "other:x"], config))

    status, first = engine.send("GET", "/images/get?names=two&names=busybox", b"")
    assert status == 200
    with open_tar(first) as archive:
        for data in (*layers, config):
            member = archive.extractfile("blobs/sha256/" + digest(data)[7:])
            assert member is not None
            assert member.read() == data
        items = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
    assert [item["RepoTags"] for item in items] == [["two:1", "two:2"], ["busybox:latest"]]

    assert engine.request("DELETE", "/images/other:x")[0] == 200
    assert engine.request("DELETE", "/images/two:1")[0] == 200
    assert engine.request("DELETE", "/images/two:2")[0] == 200
    answer = engine.load(first)
    assert "Loaded image: two:1" in answer
    assert engine.send("GET", "/images/get?names=two&names=busybox", b"") == (200, first)


def test_a_saved_archive_may_be_compressed(engine: StoreEngine) -> None:
    _, saved = engine.send("GET", "/images/busybox/get", b"")
    engine.request("DELETE", "/images/busybox")

    assert "Loaded image: busybox:latest" in engine.load(gzip.compress(saved))


def test_changes_are_listed(engine: StoreEngine) -> None:
    engine.run("web", ["sh", "-c", SCRIPT])
    engine.wait("web")

    status, found = engine.request("GET", "/containers/web/changes")

    assert status == 200
    assert {(item["Path"], item["Kind"]) for item in found} == {
        ("/etc", 0), ("/etc/dir", 1), ("/etc/dir/sub", 1), ("/etc/dir/sub/f", 1),
        ("/etc/group", 2), ("/etc/passwd", 0), ("/hard", 1), ("/new", 1), ("/soft", 1),
        ("/root", 0), ("/root/f", 1),
    }  # fmt: skip


def test_commit_makes_a_layer_of_the_changes(engine: StoreEngine) -> None:
    engine.load(docker_archive(
        [busybox_layer(), LayerBuilder().directory("root").add("root/old", b"1").finish()],
        ["base:1"],
    ))  # fmt: skip
    engine.run("web", ["sh", "-c", SCRIPT], Image="base:1")
    engine.wait("web")

    target = "/commit?container=web&repo=made&tag=1&comment=why&author=me&changes=ENV%20A%3Db"
    status, made = engine.request("POST", target)

    assert status == 201, made
    _, shown = engine.request("GET", "/images/made:1/json")
    assert shown["Id"] == made["Id"]
    assert (shown["Comment"], shown["Author"]) == ("why", "me")
    assert "A=b" in shown["Config"]["Env"]
    assert len(shown["RootFS"]["Layers"]) == 3
    command = "cat /new /hard /soft; ls /root /etc; echo $A"
    engine.run("copy", ["sh", "-c", command], Image="made:1")
    assert engine.wait("copy") == 0
    words = engine.logs("copy").split()
    assert words[:4] == [b"new", b"new", b"new", b"/etc:"] or words[:3] == [b"new"] * 3
    assert b"old" not in words
    assert b"group" not in words
    assert words[-1] == b"b"
    _, history = engine.request("GET", "/images/made:1/history")
    assert [item["Comment"] for item in history] == ["why", "", ""]
    assert history[0]["Id"] == made["Id"]


def test_a_parent_with_children_stays(engine: StoreEngine) -> None:
    engine.run("web", ["touch", "/new"])
    engine.wait("web")
    engine.request("POST", "/commit?container=web&repo=made")
    engine.request("DELETE", "/containers/web")
    _, image = engine.request("GET", "/images/busybox/json")

    status, answer = engine.request("DELETE", f"/images/{image['Id']}?force=1")

    assert status == 409
    assert answer["message"].endswith("(cannot be forced) - image has dependent child images")


def test_images_in_use_are_kept(engine: StoreEngine) -> None:
    container = engine.run("web", ["sleep", "100"])
    _, image = engine.request("GET", "/images/busybox/json")
    short = image["Id"][7:19]

    status, answer = engine.request("DELETE", "/images/busybox")
    assert status == 409
    assert answer["message"] == (
        'conflict: unable to remove repository reference "busybox" (must force) - container '
        f"{container[:12]} is using its referenced image {short}"
    )
    status, answer = engine.request("DELETE", f"/images/{short}?force=1")
    assert status == 409
    assert answer["message"] == (
        f"conflict: unable to delete {short} (cannot be forced) - image is being used by running "
        f"container {container[:12]}"
    )


def test_an_image_deleted_by_force_serves_its_container_to_the_end(engine: StoreEngine) -> None:
    engine.run("web", ["true"])
    engine.wait("web")

    assert engine.request("DELETE", "/images/busybox?force=1")[0] == 200
    assert engine.request("GET", "/images/json") == (200, [])
    engine.kill()
    engine.start()
    assert engine.request("POST", "/containers/web/start")[0] == 204
    assert engine.wait("web") == 0
    assert engine.request("DELETE", "/containers/web")[0] == 204

    engine.wait_until(lambda: not list((engine.store / "layers").iterdir()))


def test_export_and_import(engine: StoreEngine) -> None:
    engine.run("web", ["sh", "-c", SCRIPT])
    engine.wait("web")
    status, data = engine.send("GET", "/containers/web/export", b"")
    assert status == 200
    with open_tar(data) as archive:
        names = archive.getnames()
        assert archive.getmember("new").isfile() or archive.getmember("hard").isfile()
    assert "etc/group" not in names
    assert "root/f" in names

    target = "/images/create?fromSrc=-&repo=flat&tag=1&message=m&changes=CMD%20%5B%22true%22%5D"
    status, answer = engine.send("POST", target, gzip.compress(data))

    assert status == 200
    image_id = json.loads(answer)["status"]
    _, shown = engine.request("GET", "/images/flat:1/json")
    assert (shown["Id"], shown["Config"]["Cmd"]) == (image_id, ["true"])
    assert shown["RootFS"]["Layers"] == [digest(data)]
    engine.run("copy", ["cat", "/root/f"], Image="flat:1")
    assert engine.wait("copy") == 0
    assert engine.logs("copy") == b"y\n"


def test_prune_takes_what_nothing_names(engine: StoreEngine) -> None:
    engine.load(docker_archive([LayerBuilder().add("big", b"x" * 5000).finish()]))

    status, answer = engine.request("POST", "/images/prune")

    assert status == 200
    assert answer["SpaceReclaimed"] == 5000
    assert [next(iter(line)) for line in answer["ImagesDeleted"]] == ["Deleted", "Deleted"]
    status, answer = engine.request("POST", '/images/prune?filters={"dangling":["false"]}')
    assert [next(iter(line)) for line in answer["ImagesDeleted"]] == [
        "Untagged", "Deleted", "Deleted",
    ]  # fmt: skip
    assert engine.request("POST", "/images/prune")[1]["ImagesDeleted"] is None
