"""Pushing: the very bytes that were pulled, what is there already, what is new."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.engine.registry.conftest import Engine, noise_layer, texts, unique
from tests.engine.registry.registry_host import Registry, digest_of
from tests.engine.store.archives import docker_archive

if TYPE_CHECKING:
    from tests.engine.registry.fault_proxy import FaultProxy

pytestmark = [pytest.mark.root, pytest.mark.engine]


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> str:
    return unique(request.node.name)


def tag(engine: Engine, source: str, target: str, name: str = "latest") -> None:
    status, answer = engine.request("POST", f"/images/{source}/tag?repo={target}&tag={name}")
    assert status == 201, answer


def test_pull_run_push_pull_gives_the_same_bytes(
    engine: Engine, registry: Registry, repository: str, base_layer: bytes
) -> None:
    manifest = registry.put_image(repository, "1", [base_layer, noise_layer(300_000)])
    source, target = f"{registry.host}/{repository}", f"{registry.host}/copy/{repository}"
    engine.pull(f"{source}:1")
    engine.run("box", ["true"], Image=f"{source}:1", HostConfig={"NetworkMode": "none"})
    assert engine.wait("box") == 0
    tag(engine, f"{source}:1", target)

    messages = engine.push(target)

    assert messages[0] == {"status": f"The push refers to repository [{target}]"}
    digest, size = digest_of(manifest), len(manifest)
    assert messages[-2] == {"status": f"latest: digest: {digest} size: {size}"}
    assert messages[-1] == {
        "progressDetail": {},
        "aux": {"Tag": "latest", "Digest": digest, "Size": size},
    }
    assert registry.manifest(f"copy/{repository}", "latest") == manifest
    for blob in json.loads(manifest)["layers"]:
        kept = registry.blob(f"copy/{repository}", blob["digest"])
        assert kept == registry.blob(repository, blob["digest"])
    _, image = engine.request("GET", f"/images/{target}:latest/json")
    assert image["RepoDigests"] == sorted([f"{source}@{digest}", f"{target}@{digest}"])
    for name in (f"{source}:1", f"{target}:latest"):
        status, answer = engine.request("DELETE", f"/images/{name}?force=1")
        assert status == 200, answer
    engine.pull(f"{target}:latest")
    _, again = engine.request("GET", f"/images/{target}:latest/json")
    assert again["Id"] == image["Id"]
    assert engine.is_clean()


def test_layers_are_mounted_from_where_they_came(
    engine: Engine, registry: Registry, proxy: FaultProxy, repository: str, base_layer: bytes
) -> None:
    registry.put_image(repository, "1", [base_layer])
    source, target = f"{proxy.host}/{repository}", f"{proxy.host}/mounted/{repository}"
    engine.pull(f"{source}:1")
    tag(engine, f"{source}:1", target)

    messages = engine.push(target)

    mounted = [m["status"] for m in messages if m.get("status", "").startswith("Mounted")]
    assert mounted == [f"Mounted from {repository}"]
    # The configuration is the only thing that is sent.
    assert proxy.count("^PATCH ") == 1
    again = engine.push(target)
    assert "Layer already exists" in [m.get("status") for m in again]
    assert proxy.count("^PATCH ") == 1


def test_loaded_images_are_compressed_to_the_same_bytes_each_time(
    engine: Engine, registry: Registry, repository: str, base_layer: bytes
) -> None:
    layers = [base_layer, noise_layer(2_000_000, seed=7)]
    name = f"{registry.host}/{repository}"
    engine.load(docker_archive(layers, [f"{name}:a", f"{name}:b"]))

    status, messages = engine.stream(f"/images/{name}/push")

    assert status == 200
    assert "error" not in messages[-1], messages[-1]
    short = digest_of(layers[1]).partition(":")[2][:12]
    assert texts(messages, short)[0] == "Preparing"
    assert texts(messages, short)[-1] == "Layer already exists"
    first = registry.manifest(repository, "a")
    assert first == registry.manifest(repository, "b")
    tag(engine, f"{name}:a", f"{registry.host}/other/{repository}")
    engine.push(f"{registry.host}/other/{repository}")
    assert registry.manifest(f"other/{repository}", "latest") == first
    status, answer = engine.request("DELETE", f"/images/{name}:a")
    assert status == 200, answer
    engine.pull(f"{name}:a")
    _, image = engine.request("GET", f"/images/{name}:a/json")
    assert image["RootFS"]["Layers"] == [digest_of(layer) for layer in layers]


def test_uploads_survive_faults(
    engine: Engine, registry: Registry, proxy: FaultProxy, repository: str, base_layer: bytes
) -> None:
    from tests.engine.registry.fault_proxy import Fault

    name = f"{proxy.host}/{repository}"
    engine.load(docker_archive([base_layer, noise_layer(100_000)], [f"{name}:latest"]))
    proxy.add(Fault("^POST .*/uploads/", status=503, headers={"Retry-After": "0"}))
    proxy.add(Fault("^PATCH ", status=500))
    proxy.add(Fault("^PUT .*/manifests/", status=429, headers={"Retry-After": "0"}))

    messages = engine.push(name)

    digest = messages[-1]["aux"]["Digest"]
    assert digest_of(registry.manifest(repository, "latest")) == digest
    assert all(fault.seen == 1 for fault in proxy.faults)


@pytest.mark.parametrize(
    ("name", "query", "text"),
    [
        ("nothing/here", "tag=1", "An image does not exist locally with the tag: nothing/here"),
        ("busybox", "tag=other", "tag does not exist: busybox:other"),
    ],
)
def test_nothing_to_push(
    engine: Engine, base_layer: bytes, name: str, query: str, text: str
) -> None:
    engine.load(docker_archive([base_layer], ["busybox:latest"]))

    status, messages = engine.stream(f"/images/{name}/push?{query}")

    assert (status, messages[-1]["error"]) == (200, text)
