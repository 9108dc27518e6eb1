"""Bad networks and bad registries: what is mended, what is refused, and that nothing is left."""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from typing import TYPE_CHECKING

import pytest

from orlop.lib import mount
from tests.engine.containers.engine_host import UnixConnection
from tests.engine.registry.conftest import Engine, noise_layer, run_engine, texts, unique
from tests.engine.registry.fault_proxy import Fault, FaultProxy
from tests.engine.registry.registry_host import DOCKER_LAYER, Registry, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

SIZE = 3_000_000
NOISE = noise_layer(SIZE)
DENIED = "repository does not exist or may require 'docker login': denied: no"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def name(request: pytest.FixtureRequest, registry: Registry, proxy: FaultProxy) -> str:
    """An image with one layer of noise, behind the proxy."""
    repository = unique(request.node.name)
    registry.put_image(repository, "latest", [NOISE])
    return f"{proxy.host}/{repository}"


def layers(engine: Engine, name: str) -> list[str]:
    _, image = engine.request("GET", f"/images/{name}/json")
    return list(image["RootFS"]["Layers"])


LAYER = "^GET .*/blobs/sha256"
"""Of the two blobs the configuration is asked for first."""


def fault_on_layer(proxy: FaultProxy, registry: Registry, name: str, fault: Fault) -> Fault:
    repository = name.partition("/")[2]
    manifest = json.loads(registry.manifest(repository, "latest"))
    fault.pattern = f"^GET .*/blobs/{manifest['layers'][0]['digest']}"
    return proxy.add(fault)


def test_cut_downloads_go_on(
    engine: Engine, registry: Registry, proxy: FaultProxy, name: str
) -> None:
    fault = fault_on_layer(proxy, registry, name, Fault("", times=2, cut_after=1_200_000))

    messages = engine.pull(name)

    assert fault.seen == 2
    assert proxy.count(r"bytes=1200000-$") == 1
    assert proxy.count(r"bytes=2400000-$") == 1
    assert any(text.startswith("Retrying in 1 second") for m in messages for text in [m["status"]])
    assert layers(engine, name) == [digest_of(NOISE)]


def test_cut_downloads_go_on_without_ranges(
    engine: Engine, registry: Registry, proxy: FaultProxy, name: str
) -> None:
    fault_on_layer(proxy, registry, name, Fault("", cut_after=1_000_000))
    fault_on_layer(proxy, registry, name, Fault("", drop_ranges=True))

    engine.pull(name)

    assert layers(engine, name) == [digest_of(NOISE)]


def test_busy_registries_are_given_time(
    engine: Engine, registry: Registry, proxy: FaultProxy, name: str
) -> None:
    fault_on_layer(proxy, registry, name, Fault("", status=429, headers={"Retry-After": "1"}))
    fault_on_layer(proxy, registry, name, Fault("", times=2, status=503, body=b"later"))
    proxy.add(Fault("^GET .*/manifests/", status=500, headers={"Retry-After": "0"}))

    engine.pull(name)

    assert all(fault.seen == fault.times for fault in proxy.faults)
    assert layers(engine, name) == [digest_of(NOISE)]


def test_errors_for_good(engine: Engine, proxy: FaultProxy, name: str) -> None:
    proxy.add(Fault("^GET .*/manifests/", 5, status=500, headers={"Retry-After": "0"}))
    assert engine.pull_fails(name) == (
        500,
        "received unexpected HTTP status: 500 Internal Server Error",
    )

    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}).encode()
    headers = {**JSON, "Retry-After": "100000"}
    proxy.add(Fault("^GET .*/manifests/", status=429, headers=headers, body=body))
    assert engine.pull_fails(name) == (500, "toomanyrequests: slow down")

    body = json.dumps({"errors": [{"code": "DENIED", "message": "no"}]}).encode()
    proxy.add(Fault("^(GET|HEAD) .*/manifests/", 2, status=403, headers=JSON, body=body))
    assert engine.pull_fails(name) == (
        404,
        f"pull access denied for {name}, {DENIED}",
    )
    engine.pull(name)


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (flip, "filesystem layer verification failed for digest sha256:"),
        (lambda data: b"x" * len(data), "filesystem layer verification failed for digest sha256:"),
        (lambda data: data + b"more", "the registry sends more than the "),
    ],
)
def test_wrong_layers_are_refused(
    engine: Engine, registry: Registry, proxy: FaultProxy, name: str, change: object, text: str
) -> None:
    fault_on_layer(proxy, registry, name, Fault("", times=99, change=change))  # type: ignore[arg-type]

    status, found = engine.pull_fails(name)

    assert status == 200
    assert text in found
    assert engine.is_clean()
    assert engine.layer_count() == 0
    assert engine.request("GET", "/images/json") == (200, [])


def test_wrong_manifest_and_configuration(
    engine: Engine, registry: Registry, proxy: FaultProxy, name: str
) -> None:
    proxy.add(Fault("^GET .*/manifests/sha256", change=lambda data: data + b" "))
    status, text = engine.pull_fails(name)
    assert (status, text.partition(" sha256")[0]) == (
        500,
        "manifest verification failed for digest",
    )

    repository = name.partition("/")[2]
    config = json.loads(registry.manifest(repository, "latest"))["config"]["digest"]
    proxy.add(Fault(f"^GET .*/blobs/{config}", change=flip))
    assert engine.pull_fails(name) == (
        200,
        "error pulling image configuration: image config verification failed for digest " + config,
    )

    proxy.add(Fault("^GET .*/manifests/sha256", change=lambda data: data + b" " * (5 << 20)))
    status, text = engine.pull_fails(name)
    assert (status, "more than 4194304 bytes" in text) == (500, True)


@pytest.fixture
def small_engine(images: Path, loopback: None, tmp_path: Path) -> Iterator[Engine]:
    """An engine whose disk has 48 MB."""
    for process in run_engine(images):
        data = process.directory / "data"
        process.kill()
        mount.mount("tmpfs", data, "tmpfs", data="size=48m")
        process.start()
        yield process


def zeros(count: int) -> bytes:
    """A gzip stream of so many MB of zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = bytearray()
    for _ in range(count):
        data += packer.compress(bytes(1 << 20))
    return bytes(data + packer.flush())


def test_bombs_and_large_images_do_not_fill_the_disk(
    small_engine: Engine, registry: Registry
) -> None:
    bomb = zeros(300)
    registry.put_image(
        "bomb", "latest", [b"the diff id does not matter"], blobs=[(bomb, DOCKER_LAYER)]
    )
    large = noise_layer(40_000_000)
    registry.put_image("large", "latest", [large], blobs=[(gzip.compress(large, 1), DOCKER_LAYER)])

    for name in ("bomb", "large"):
        status, text = small_engine.pull_fails(f"{registry.host}/{name}")

        assert (status, "no space left on device" in text) == (200, True)
        assert small_engine.is_clean()
    assert small_engine.request("GET", "/_ping")[0] == 200


def test_a_client_that_leaves_ends_its_pull(
    engine: Engine, registry: Registry, proxy: FaultProxy, name: str
) -> None:
    fault_on_layer(
        proxy, registry, name, Fault("", times=99, status=503, headers={"Retry-After": "60"})
    )
    connection = UnixConnection(engine.socket_path)
    connection.request("POST", f"/images/create?fromImage={name}")
    response = connection.getresponse()
    seen = b""
    while b"Retrying" not in seen:
        seen += response.readline()
    response.close()
    connection.close()

    engine.wait_until(engine.is_clean)
    assert engine.request("GET", "/images/json") == (200, [])


def test_redirects_are_followed_without_credentials(
    engine: Engine, registry: Registry, proxy: FaultProxy, name: str
) -> None:
    other = FaultProxy(registry.host)
    try:
        repository = name.partition("/")[2]
        digest = json.loads(registry.manifest(repository, "latest"))["layers"][0]["digest"]
        path = f"/v2/{repository}/blobs/{digest}"
        location = {"Location": f"http://{other.host}{path}"}
        proxy.add(Fault(f"^GET {path}", status=307, headers=location))

        engine.pull(name)

        assert other.requests == [f"GET {path}"]
    finally:
        other.stop()


def test_engine_answers_while_it_pulls(
    engine: Engine, registry: Registry, proxy: FaultProxy
) -> None:
    """The worker does the work: a ping in between is answered at once."""
    repository = unique("responsive")
    registry.put_image(repository, "latest", [noise_layer(40_000_000, seed=3)])
    connection = UnixConnection(engine.socket_path)
    connection.request("POST", f"/images/create?fromImage={proxy.host}/{repository}")
    response: http.client.HTTPResponse = connection.getresponse()

    answered = 0
    while response.readline():
        assert engine.request("GET", "/_ping")[0] == 200
        answered += 1

    connection.close()
    assert answered > 3
    assert texts(engine.pull(f"{proxy.host}/{repository}"))[-1].startswith("Status: Image is up")
