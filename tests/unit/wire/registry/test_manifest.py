"""Manifests and indexes: both families, and what is refused."""

import copy
import json
from typing import Any

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.registry import manifest as m
from orlop.wire.registry.platform import Platform

A, B, C = (f"sha256:{digit * 64}" for digit in "abc")
IMAGE: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": m.DOCKER_MANIFEST,
    "config": {"mediaType": m.DOCKER_CONFIG, "digest": A, "size": 7},
    "layers": [
        {"mediaType": m.DOCKER_LAYER, "digest": B, "size": 10},
        {"mediaType": m.DOCKER_LAYER, "digest": C, "size": 20},
    ],
}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": m.OCI_INDEX,
    "manifests": [
        {
            "mediaType": m.OCI_MANIFEST,
            "digest": A,
            "size": 1,
            "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"},
        },
        {
            "mediaType": m.OCI_MANIFEST,
            "digest": B,
            "size": 1,
            "platform": {"os": "linux", "architecture": "amd64"},
        },
        {"mediaType": m.OCI_MANIFEST, "digest": C, "size": 1},
        {
            "mediaType": m.OCI_MANIFEST,
            "digest": C,
            "size": 1,
            "platform": {"os": "unknown", "architecture": "unknown"},
        },
    ],
}


def parse(document: object, media_type: str = "") -> m.Manifest | m.Index:
    return m.parse_manifest(json.dumps(document).encode(), media_type, "docker.io/library/x")


def changed(document: dict[str, Any], *path: str | int, to: object) -> dict[str, Any]:
    result = copy.deepcopy(document)
    target: Any = result
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = to
    return result


def test_image() -> None:
    parsed = parse(IMAGE)

    assert isinstance(parsed, m.Manifest)
    assert parsed.config == m.Descriptor(m.DOCKER_CONFIG, A, 7)
    assert [layer.size for layer in parsed.layers] == [10, 20]


def test_the_kind_is_found_without_a_media_type() -> None:
    image = {key: value for key, value in IMAGE.items() if key != "mediaType"}
    index = {key: value for key, value in INDEX.items() if key != "mediaType"}

    assert parse(image).media_type == m.OCI_MANIFEST
    assert parse(index).media_type == m.OCI_INDEX
    assert parse(image, m.DOCKER_MANIFEST + "; charset=utf-8").media_type == m.DOCKER_MANIFEST


def test_selection() -> None:
    index = parse(INDEX)
    assert isinstance(index, m.Index)

    def digests(platform: Platform) -> list[str]:
        return [entry.descriptor.digest for entry in m.select(index, platform)]

    assert digests(Platform("linux", "amd64")) == [B, C]
    assert digests(Platform("linux", "arm64")) == [A, C]
    assert digests(Platform("linux", "s390x")) == [C]


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (changed(IMAGE, "config", "digest", to="sha256:x"), "could not validate layer digest"),
        (changed(IMAGE, "layers", 0, "digest", to=A[:-1]), "invalid checksum digest length"),
        (changed(IMAGE, "layers", 0, "digest", to="../../etc"), "could not validate"),
        (changed(IMAGE, "layers", 0, "digest", to="sha512:" + "0" * 128), "unsupported digest"),
        (changed(IMAGE, "layers", 0, "size", to=-1), "impossible size"),
        (changed(IMAGE, "layers", 0, "size", to=True), "impossible size"),
        (changed(IMAGE, "layers", 0, "size", to=1 << 60), "impossible size"),
        (changed(IMAGE, "layers", 0, "size", to=1.5), "impossible size"),
        (changed(IMAGE, "layers", 0, to="x"), "an object expected"),
        (changed(IMAGE, "layers", to={}), None),
        (changed(IMAGE, "layers", to={"a": 1}), "a list expected"),
        (changed(IMAGE, "layers", to=IMAGE["layers"] * 251), "more than 500 layers"),
        (changed(IMAGE, "config", to=None), "an object expected"),
        (changed(IMAGE, "config", "size", to=m.MAX_CONFIG_BYTES + 1), "larger than"),
        (
            changed(IMAGE, "config", "mediaType", to="application/vnd.cncf.helm.config.v1+json"),
            r"unsupported media type application/vnd\.cncf\.helm\.config",
        ),
        (changed(IMAGE, "config", "mediaType", to=m.DOCKER_PLUGIN), r"\(plugin\) when fetching"),
        (
            changed(IMAGE, "config", "mediaType", to="application/vnd.docker.ai.model.config"),
            "AI models",
        ),
        (changed(IMAGE, "layers", 1, "mediaType", to="text/plain"), "unsupported media type"),
        (changed(IMAGE, "mediaType", to="application/x"), "unsupported manifest format"),
        (changed(IMAGE, "mediaType", to=m.SCHEMA1), "Suggest the author of docker.io/library/x"),
        (changed(IMAGE, "manifests", to=[]), "should not have"),
        (changed(INDEX, "layers", to=[]), "should not have"),
        (changed(INDEX, "manifests", to=INDEX["manifests"] * 300), "more than 1024"),
        (changed(INDEX, "manifests", 0, "platform", to=[]), "an object expected"),
        (changed(INDEX, "manifests", 0, "platform", "os", to=3), "strings expected"),
        ({}, "unsupported manifest format"),
        ({"fsLayers": []}, "schema 1 support has been removed"),
        ([], "not a JSON object"),
    ],
)
def test_refuses(document: object, error: str | None) -> None:
    if error is None:
        assert isinstance(parse(document), m.Manifest)
        return
    with pytest.raises(InvalidArgument, match=error):
        parse(document)


def test_bytes_that_are_no_manifest() -> None:
    whole = json.dumps(IMAGE).encode()

    for end in range(len(whole)):
        with pytest.raises(InvalidArgument):
            m.parse_manifest(whole[:end], "")
    for data in (b"[" * 100_000, b"\xff", b" " * (m.MAX_MANIFEST_BYTES + 1)):
        with pytest.raises(InvalidArgument):
            m.parse_manifest(data, "")


def test_diff_ids() -> None:
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [A]}}

    assert m.parse_diff_ids(json.dumps(config).encode()) == ([A], "linux", "amd64", "")
    refused: list[object] = [{}, {"rootfs": []}, {"rootfs": {"diff_ids": [1]}}]
    for wrong in (*refused, {"rootfs": {"type": "x"}}):
        with pytest.raises(InvalidArgument, match="invalid rootfs in image configuration"):
            m.parse_diff_ids(json.dumps(wrong).encode())
    with pytest.raises(InvalidArgument):
        m.parse_diff_ids(json.dumps({"rootfs": {"diff_ids": ["../x"]}}).encode())


def test_built_manifest_is_what_dockerd_writes() -> None:
    built = m.build_manifest(
        m.Descriptor(m.DOCKER_CONFIG, A, 7), [m.Descriptor(m.DOCKER_LAYER, B, 10)]
    )

    assert built.startswith(b'{\n   "schemaVersion": 2,\n   "mediaType": "application/vnd.docker.')
    assert b'"layers": [\n      {\n         "mediaType": ' in built
    assert not built.endswith(b"\n")
    assert isinstance(m.parse_manifest(built, ""), m.Manifest)
