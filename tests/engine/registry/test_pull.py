"""Pulling from Debian's registry: what comes, what is said, what is refused."""

from __future__ import annotations

import gzip
import json
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.engine.registry.conftest import Engine, noise_layer, texts, unique
from tests.engine.registry.registry_host import (
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Registry,
    digest_of,
)
from tests.engine.store.archives import LayerBuilder

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    return unique(request.node.name)


def test_pull_and_run(
    engine: Engine, registry: Registry, repository: str, base_layer: bytes
) -> None:
    top = LayerBuilder().add("hello", b"from the registry\n").finish()
    manifest = registry.put_image(repository, "1", [base_layer, top])
    name = f"{registry.host}/{repository}"

    messages = engine.pull(name, query="&tag=1")

    assert messages[0] == {"status": f"Pulling from {repository}", "id": "1"}
    assert messages[-2] == {"status": f"Digest: {digest_of(manifest)}"}
    assert messages[-1] == {"status": f"Status: Downloaded newer image for {name}:1"}
    for blob in json.loads(manifest)["layers"]:
        short = blob["digest"].partition(":")[2][:12]
        assert texts(messages, short) == [
            "Pulling fs layer",
            "Downloading",
            "Verifying Checksum",
            "Download complete",
            "Extracting",
            "Pull complete",
        ]
    status, image = engine.request("GET", f"/images/{name}:1/json")
    assert status == 200, image
    assert image["RepoTags"] == [f"{name}:1"]
    assert image["RepoDigests"] == [f"{name}@{digest_of(manifest)}"]
    engine.run("box", ["cat", "/hello"], Image=f"{name}:1", HostConfig={"NetworkMode": "none"})
    assert engine.wait("box") == 0
    assert engine.logs("box") == b"from the registry\n"
    assert engine.is_clean()


def test_again_is_up_to_date_and_layers_are_shared(
    engine: Engine, registry: Registry, repository: str, base_layer: bytes
) -> None:
    registry.put_image(repository, "1", [base_layer])
    registry.put_image(repository, "2", [base_layer, noise_layer(1000)])
    name = f"{registry.host}/{repository}"
    engine.pull(f"{name}:1")

    again = engine.pull(f"{name}:1")
    other = engine.pull(f"{name}:2")

    assert texts(again)[-1] == f"Status: Image is up to date for {name}:1"
    assert not any("Pulling fs layer" in message.get("status", "") for message in again)
    assert [m["status"] for m in other if "Already" in m.get("status", "")] == ["Already exists"]
    assert engine.layer_count() == 2


def test_events_and_all_tags(
    engine: Engine, registry: Registry, repository: str, base_layer: bytes
) -> None:
    for tag in ("a", "b", "c"):
        registry.put_image(repository, tag, [base_layer], config={"created": f"200{ord(tag) % 9}"})
    name = f"{registry.host}/{repository}"

    messages = engine.pull(name)

    assert sum(m.get("status") == f"Pulling from {repository}" for m in messages) == 3
    assert messages[-1]["status"] == f"Status: Downloaded newer image for {name}"
    _, listed = engine.request("GET", "/images/json")
    tags = sorted(tag for image in listed for tag in image["RepoTags"])
    assert tags == [f"{name}:{tag}" for tag in "abc"]
    status, events = engine.lines("GET", f"/events?since=1&until={time.time():.6f}")
    assert status == 200
    pulls = [event for event in events if event["Action"] == "pull"]
    assert [event["Actor"]["ID"] for event in pulls] == [name]
    assert pulls[0]["Actor"]["Attributes"]["name"] == name


def test_by_digest(engine: Engine, registry: Registry, repository: str, base_layer: bytes) -> None:
    manifest = registry.put_image(repository, "x", [base_layer])
    name = f"{registry.host}/{repository}@{digest_of(manifest)}"

    messages = engine.pull(name)

    assert messages[0]["id"] == digest_of(manifest)
    assert messages[-1]["status"] == f"Status: Downloaded newer image for {name}"
    status, image = engine.request("GET", f"/images/{name}/json")
    assert (status, image["RepoTags"], image["RepoDigests"]) == (200, [], [name])
    again = engine.pull(f"{registry.host}/{repository}", query=f"&tag={digest_of(manifest)}")
    assert again[-1]["status"] == f"Status: Image is up to date for {name}"


def test_kinds_of_layers(
    engine: Engine, registry: Registry, repository: str, base_layer: bytes, tmp_path: Path
) -> None:
    plain = LayerBuilder().add("plain", b"1\n").finish()
    packed = LayerBuilder().add("packed", b"2\n").finish()
    members = LayerBuilder().add("members", b"3\n").finish()
    zstd = subprocess.run(["zstd", "-q"], input=packed, capture_output=True, check=True).stdout
    half = len(members) // 2
    two = gzip.compress(members[:half], mtime=0) + gzip.compress(members[half:], mtime=0)
    registry.put_image(
        repository,
        "latest",
        [base_layer, plain, packed, members],
        blobs=[
            (gzip.compress(base_layer, 1), f"{OCI_LAYER}+gzip"),
            (plain, OCI_LAYER),
            (zstd, f"{OCI_LAYER}+zstd"),
            (two, f"{OCI_LAYER}+gzip"),
        ],
        oci=True,
    )
    name = f"{registry.host}/{repository}:latest"

    engine.pull(name)

    command = ["cat", "/plain", "/packed", "/members"]
    engine.run("box", command, Image=name, HostConfig={"NetworkMode": "none"})
    assert engine.wait("box") == 0
    assert engine.logs("box") == b"1\n2\n3\n"


def test_platforms(engine: Engine, registry: Registry, repository: str, base_layer: bytes) -> None:
    entries = []
    for architecture in ("arm64", "amd64"):
        layer = LayerBuilder().add("arch", architecture.encode()).finish()
        data = registry.put_image(
            repository,
            architecture,
            [base_layer, layer],
            config={"architecture": architecture},
            oci=True,
        )
        entries.append(
            {
                "mediaType": OCI_MANIFEST,
                "digest": digest_of(data),
                "size": len(data),
                "platform": {"os": "linux", "architecture": architecture},
            }
        )
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()
    registry.put_manifest(repository, "multi", index, OCI_INDEX)
    name = f"{registry.host}/{repository}:multi"

    messages = engine.pull(name)

    assert f"Digest: {digest_of(index)}" in texts(messages)
    _, image = engine.request("GET", f"/images/{name}/json")
    assert image["Architecture"] == "amd64"
    assert image["RepoDigests"] == [f"{registry.host}/{repository}@{digest_of(index)}"]
    engine.pull(name, query="&platform=linux/arm64")
    _, image = engine.request("GET", f"/images/{name}/json")
    assert image["Architecture"] == "arm64"
    status, text = engine.pull_fails(name, query="&platform=linux/s390x")
    assert text == "no matching manifest for linux/s390x in the manifest list entries"
    status, text = engine.pull_fails(name, query="&platform=a/b/c/d")
    assert (status, "cannot parse platform" in text) == (400, True)


def test_one_platform_only_is_taken_with_a_warning(
    engine: Engine, registry: Registry, repository: str, base_layer: bytes
) -> None:
    registry.put_image(repository, "latest", [base_layer])
    name = f"{registry.host}/{repository}:latest"

    messages = engine.pull(name, query="&platform=linux/arm64")

    assert any(
        text.startswith("WARNING: ") and "(linux/amd64) does not match" in text
        for text in texts(messages)
    )


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("team/App", 400, "must be lowercase"),
        ("x%20y", 400, "invalid reference format"),
        ("scratch", 403, "'scratch' is a reserved name"),
        (
            "127.0.0.1:1/x",
            500,
            'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused',
        ),
    ],
)
def test_refused(engine: Engine, name: str, status: int, text: str) -> None:
    found = engine.pull_fails(name)

    assert found[0] == status
    assert text in found[1]
    assert engine.is_clean()


def test_not_found(engine: Engine, registry: Registry, repository: str, base_layer: bytes) -> None:
    registry.put_image(repository, "1", [base_layer])
    name = f"{registry.host}/{repository}"

    assert engine.pull_fails(f"{name}:2") == (
        404,
        f"manifest for {name}:2 not found: manifest unknown: manifest unknown",
    )
    missing = f"{registry.host}/no/such"
    assert engine.pull_fails(missing) == (
        404,
        f"repository {missing} not found: name unknown: repository name not known to registry",
    )


def test_what_is_no_image(
    engine: Engine, registry: Registry, repository: str, base_layer: bytes
) -> None:
    data = registry.put_image(repository, "1", [base_layer], oci=True)
    document = json.loads(data)
    document["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    chart = json.dumps(document).encode()
    registry.put_manifest(repository, "chart", chart, OCI_MANIFEST)
    name = f"{registry.host}/{repository}:chart"

    assert engine.pull_fails(name) == (
        400,
        "unsupported media type application/vnd.cncf.helm.config.v1+json",
    )


def test_configuration_of_another_image(
    engine: Engine, registry: Registry, repository: str, base_layer: bytes
) -> None:
    config = {"rootfs": {"type": "layers", "diff_ids": [digest_of(b"something else")]}}
    registry.put_image(repository, "1", [base_layer], config=config)

    status, text = engine.pull_fails(f"{registry.host}/{repository}:1")

    assert (status, text) == (200, "layers from manifest don't match image configuration")
    assert engine.is_clean()
    assert engine.layer_count() == 0
