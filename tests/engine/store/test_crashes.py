"""A killed engine and a damaged disk: the store is whole, or says what is not."""

from __future__ import annotations

import os
import random
import threading
from http.client import HTTPException
from typing import TYPE_CHECKING

from orlop.lib import mount
from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive

if TYPE_CHECKING:
    from tests.engine.store.conftest import StoreEngine

ROUNDS = 6


def check_whole(engine: StoreEngine) -> list[str]:
    """Nothing is half there: every image that is listed is complete; their tags."""
    status, images = engine.request("GET", "/images/json")
    assert status == 200
    layers = set()
    for image in images:
        _, shown = engine.request("GET", f"/images/{image['Id']}/json")
        layers |= {layer[7:] for layer in shown["RootFS"]["Layers"]}
        assert (engine.store / "blobs" / image["Id"][7:]).exists()
    assert {path.name for path in (engine.store / "layers").iterdir()} == layers
    for layer in layers:
        files = {path.name for path in (engine.store / "layers" / layer).iterdir()}
        assert files == {"layer.tar", "index.erofs", "layer.json"}
    assert not list((engine.store / "staging").iterdir())
    return [tag for image in images for tag in image["RepoTags"]]


def test_killed_while_loading(engine: StoreEngine) -> None:
    source = random.Random(7)
    layers = [
        LayerBuilder().add(f"file{number}", source.randbytes(300_000)).finish()
        for number in range(6)
    ]
    archive = docker_archive([busybox_layer(), *layers], ["many:1"])
    took_s = 0.4
    survived = 0
    for attempt in range(ROUNDS):
        loading = threading.Thread(target=_load, args=(engine, archive))
        loading.start()
        # Sooner or later within the load: where it strikes is a matter of luck, on purpose.
        loading.join(took_s * attempt / ROUNDS)
        engine.kill()
        loading.join()
        engine.start()
        tags = check_whole(engine)
        assert "busybox:latest" in tags
        survived += "many:1" in tags
        if "many:1" in tags:
            engine.request("DELETE", "/images/many:1")
    engine.load(archive)
    engine.run("web", ["cat", "/file5"], Image="many:1")
    assert engine.wait("web") == 0


def _load(engine: StoreEngine, archive: bytes) -> None:
    try:
        engine.send("POST", "/images/load?quiet=1", archive)
    except (OSError, HTTPException):
        return


def test_killed_while_deleting(engine: StoreEngine) -> None:
    for attempt in range(3):
        engine.load(docker_archive([busybox_layer(), LayerBuilder().add("a").finish()], ["two:1"]))
        deleting = threading.Thread(target=_delete, args=(engine,))
        deleting.start()
        deleting.join(0.004 * attempt)
        engine.kill()
        deleting.join()
        engine.start()
        check_whole(engine)


def _delete(engine: StoreEngine) -> None:
    try:
        engine.request("DELETE", "/images/two:1")
    except (OSError, HTTPException):
        return


def _only_layer(engine: StoreEngine) -> str:
    _, image = engine.request("GET", "/images/busybox/json")
    return str(image["RootFS"]["Layers"][0])[7:]


def test_what_a_killed_engine_looked_at_is_mounted_no_more(engine: StoreEngine) -> None:
    engine.create("one", ["true"])
    engine.kill()
    # As it is in the middle of a list of changes.
    place = engine.directory / "run/lower/1a2b3c4d"
    place.mkdir(parents=True)
    mount.mount(engine.store, place, None, mount.MountFlag.BIND)
    engine.start()

    assert not place.exists()
    assert all(entry.target != place for entry in mount.read_mounts())
    assert engine.request("GET", "/containers/one/changes") == (200, None)


def test_a_damaged_index_is_made_again(engine: StoreEngine) -> None:
    index = engine.store / "layers" / _only_layer(engine) / "index.erofs"
    good = index.read_bytes()
    index.write_bytes(good[:1024] + b"\xff" * 500 + good[1524:])

    engine.run("web", ["true"])

    assert engine.wait("web") == 0
    assert index.read_bytes() == good


def test_a_damaged_layer_is_told_and_mended_by_loading_it_again(engine: StoreEngine) -> None:
    other = docker_archive([LayerBuilder().add("x", b"y").finish()], ["other:1"])
    engine.load(other)
    layer = engine.store / "layers" / _only_layer(engine) / "layer.tar"
    os.truncate(layer, 5000)
    engine.kill()
    engine.start()

    engine.create("web", ["true"])
    status, answer = engine.request("POST", "/containers/web/start")
    assert status == 500
    assert "is missing from the image store or damaged" in answer["message"]
    assert engine.request("GET", "/images/other:1/json")[0] == 200

    engine.load(docker_archive([busybox_layer()], ["busybox:latest"]))
    assert engine.request("POST", "/containers/web/start")[0] == 204
    assert engine.wait("web") == 0


def test_lost_names_leave_the_images(engine: StoreEngine) -> None:
    (engine.store / "references.json").write_text("{")
    engine.kill()
    engine.start()

    _, images = engine.request("GET", "/images/json")

    assert [image["RepoTags"] for image in images] == [[]]


def test_the_check_finds_damage_and_sets_it_aside(engine: StoreEngine) -> None:
    engine.load(docker_archive([LayerBuilder().add("x", b"y" * 600).finish()], ["other:1"]))
    _, other = engine.request("GET", "/images/other:1/json")
    engine.kill()
    assert engine.check() == (0, "nothing is wrong\n")
    layer = engine.store / "layers" / other["RootFS"]["Layers"][0][7:] / "layer.tar"
    data = bytearray(layer.read_bytes())
    data[600] ^= 1
    layer.write_bytes(data)

    status, output = engine.check("--repair")

    assert status == 1
    assert "its bytes have digest" in output
    assert "lacks layer" in output
    engine.start()
    assert engine.request("GET", "/images/busybox/json")[0] == 200
    engine.load(docker_archive([LayerBuilder().add("x", b"y" * 600).finish()], ["other:1"]))
    engine.kill()
    assert engine.check() == (0, "nothing is wrong\n")
    engine.start()


def test_an_image_whose_record_is_damaged_loses_no_layer(engine: StoreEngine) -> None:
    (record,) = (engine.store / "images").iterdir()
    good = record.read_bytes()
    record.write_bytes(good[:-5])
    engine.kill()
    engine.start()
    assert engine.request("GET", "/images/json") == (200, [])

    engine.kill()
    record.write_bytes(good)
    engine.start()

    assert check_whole(engine) == ["busybox:latest"]
