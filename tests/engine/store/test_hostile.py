"""Archives made to do harm: refused with a reason, and nothing is left of them."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.store.archives import (
    LayerBuilder,
    busybox_layer,
    config_of,
    digest,
    docker_archive,
    pack,
)

if TYPE_CHECKING:
    from tests.engine.store.conftest import StoreEngine


def refused(shared: StoreEngine, archive: bytes) -> str:
    """Load *archive*, which must fail and leave the store as it is; the error."""
    before = contents(shared)
    answer = shared.load(archive)
    lines = [json.loads(line) for line in answer.splitlines()]
    assert "error" in lines[-1], answer
    assert lines[-1]["errorDetail"] == {"message": lines[-1]["error"]}
    shared.wait_until(lambda: contents(shared) == before)
    assert shared.request("GET", "/_ping")[0] == 200
    return str(lines[-1]["error"])


def contents(shared: StoreEngine) -> set[str]:
    """Every file of the store but those on their way out."""
    found = set()
    for top, _, files in os.walk(shared.store):
        found |= {f"{top}/{name}" for name in files if "/trash" not in top}
    return found


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../../etc/passwd", "leads out of the layer"),
        ("a/../../b", "leads out of the layer"),
        ("x" * 300, "file name too long"),
        ("d/" * 3000 + "f", "file name too long"),
    ],
)
def test_paths_that_lead_elsewhere(shared: StoreEngine, name: str, reason: str) -> None:
    assert reason in refused(shared, docker_archive([LayerBuilder().add(name, b"x").finish()]))


def test_links_that_lead_nowhere(shared: StoreEngine) -> None:
    to_nothing = LayerBuilder().add("a", type=tarfile.LNKTYPE, linkname="/etc/passwd")
    through = LayerBuilder().link("a", "/nowhere").add("a/b", b"x")
    loop = LayerBuilder().link("a", "b").link("b", "a").add("a/c", b"x")

    assert "invalid hardlink" in refused(shared, docker_archive([to_nothing.finish()]))
    assert "no such directory" in refused(shared, docker_archive([through.finish()]))
    assert "symbolic links" in refused(shared, docker_archive([loop.finish()]))


def test_names_in_the_outer_archive_stay_inside(shared: StoreEngine) -> None:
    layer = busybox_layer()
    config = config_of([layer])
    item = {"Config": "../../c", "RepoTags": ["out:1"], "Layers": ["/../../../l"]}
    files = {"../../c": config, "/../../../l": layer, "manifest.json": json.dumps([item]).encode()}

    assert "Loaded image: out:1" in shared.load(pack(files))
    assert shared.request("DELETE", "/images/out:1")[0] == 200


def test_a_layer_that_is_not_what_it_claims(shared: StoreEngine) -> None:
    layer, other = busybox_layer(), LayerBuilder().add("x", b"y").finish()

    answer = refused(shared, docker_archive([layer], config=config_of([other])))

    assert digest(other) in answer
    assert digest(layer) in answer


def test_archives_that_end_too_early(shared: StoreEngine) -> None:
    whole = docker_archive([busybox_layer()], ["cut:1"])

    assert refused(shared, whole[:100_000]) == "unexpected EOF"
    assert refused(shared, whole[:1000])
    assert refused(shared, gzip.compress(whole)[:50_000]) == "unexpected EOF"
    assert "holds neither" in refused(shared, b"")
    assert refused(shared, b"no archive at all" * 100) == (
        "invalid tar header: a field is not a number"
    )
    inner = LayerBuilder().add("file", b"x" * 5000).finish()[:2048]
    assert "unexpected EOF" in refused(shared, docker_archive([inner]))


def test_a_compressed_layer_of_nothing_but_zeroes(shared: StoreEngine) -> None:
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(compressor.compress(bytes(1 << 20)) for _ in range(64)) + compressor.flush()
    config = config_of([bytes(64 << 20)])
    manifest = json.dumps([{"Config": "c", "RepoTags": ["zero:1"], "Layers": ["l"]}]).encode()

    answer = shared.load(pack({"c": config, "l": bomb, "manifest.json": manifest}))

    # Zeroes are a tar with nothing in it.
    assert "Loaded image: zero:1" in answer
    assert shared.request("GET", "/images/zero:1/json")[1]["Size"] == 0
    assert shared.request("DELETE", "/images/zero:1")[0] == 200


def test_a_sparse_bomb_costs_nothing(shared: StoreEngine) -> None:
    layer = LayerBuilder()
    fields = {"GNU.sparse.map": f"{1 << 40},512", "GNU.sparse.size": str((1 << 40) + 512)}
    layer.add("huge", b"x" * 512, pax_headers=fields)
    pieces = ",".join(f"{index * 1024},512" for index in range(2))
    fields = {"GNU.sparse.map": f"{pieces},{1 << 41},512", "GNU.sparse.size": str(1 << 42)}
    many = LayerBuilder().add("many", b"x" * 1536, pax_headers=fields)
    wrong = LayerBuilder().add("w", b"x", pax_headers={"GNU.sparse.map": "5,9,2", "size": "1"})

    assert "Loaded image ID" in shared.load(docker_archive([layer.finish()]))
    assert "too many pieces" in refused(shared, docker_archive([many.finish()]))
    assert "sparse map" in refused(shared, docker_archive([wrong.finish()]))


CONFIGS: list[Any] = [
    [],
    {"rootfs": []},
    {"rootfs": {"diff_ids": ["sha256:x"]}},
    {"rootfs": {"diff_ids": "y"}},
    {"os": 5},
    {"history": ["x"]},
    {"config": {"Env": [1]}},
    {"config": {"Labels": {"a": 1}}},
    {"config": {"Healthcheck": {"Test": "x"}}},
    {"config": {"Healthcheck": {"Interval": "x"}}},
]


def test_absurd_configurations(shared: StoreEngine) -> None:
    for config in CONFIGS:
        answer = refused(shared, docker_archive([], config=json.dumps(config).encode()))
        assert "invalid image configuration" in answer, config


def test_absurd_json(shared: StoreEngine) -> None:
    deep = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    for config in (deep, b'{"a":' * 40 + b"1" + b"}" * 40, b"\xff", b"", b"{" + b" " * (5 << 20)):
        assert refused(shared, docker_archive([], config=config))
    for manifest in (b"[", b"{}", b"[1]", b'[{"Config":1}]', b'[{"Config":"x","Layers":5}]', deep):
        assert refused(shared, pack({"manifest.json": manifest}))
    for index in (b"{}", b'{"manifests":[{}]}', b'{"manifests":[{"digest":"sha256:1","size":1}]}'):
        assert refused(shared, pack({"index.json": index}))


def test_attributes_too_large(shared: StoreEngine) -> None:
    headers = {"SCHILY.xattr.user.a": "x" * 70_000}
    large = LayerBuilder().add("a", pax_headers=headers).finish()
    huge = LayerBuilder().add("a", pax_headers={"comment": "x" * (2 << 20)}).finish()

    assert "attributes too large" in refused(shared, docker_archive([large]))
    assert "too large" in refused(shared, docker_archive([huge]))


def test_a_client_that_leaves_leaves_nothing(shared: StoreEngine) -> None:
    from tests.engine.containers.engine_host import UnixConnection

    before = contents(shared)
    archive = docker_archive([busybox_layer(), LayerBuilder().add("n", b"n").finish()], ["gone:1"])
    connection = UnixConnection(shared.socket_path)
    connection.putrequest("POST", "/images/load")
    connection.putheader("Content-Length", str(len(archive)))
    connection.endheaders()
    connection.send(archive[: len(archive) // 2])
    connection.close()

    shared.wait_until(lambda: contents(shared) == before)
    assert shared.request("GET", "/images/gone:1/json")[0] == 404
