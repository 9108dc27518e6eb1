"""Passwords, tokens, certificates, mirrors, search; the docker command with all of it."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.registry.conftest import Engine, noise_layer, run_engine, unique
from tests.engine.registry.fault_proxy import Fault, FaultProxy
from tests.engine.registry.registry_host import Registry, bcrypt, digest_of
from tests.engine.registry.token_server import Authority, TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]

ANN = {"username": "ann", "password": "secret"}
UNKNOWN = "x509: certificate signed by unknown authority"
WRONG = {"username": "ann", "password": "wrong"}


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="access-") as path:
        yield Path(path)


@pytest.fixture
def password_registry(loopback: None, directory: Path) -> Iterator[Registry]:
    (directory / "htpasswd").write_text(f"ann:{bcrypt('secret')}\n")
    auth = {"htpasswd": {"realm": "test", "path": str(directory / "htpasswd")}}
    basic = "Basic " + base64.b64encode(b"ann:secret").decode()
    registry = Registry(directory / "registry", auth, authorization=basic)
    registry.start()
    yield registry
    registry.stop()


@pytest.fixture
def tokens(loopback: None, directory: Path) -> Iterator[TokenServer]:
    server = TokenServer(directory, {"ann": "secret"})
    yield server
    server.stop()


@pytest.fixture
def token_registry(directory: Path, tokens: TokenServer) -> Iterator[Registry]:
    registry = Registry(directory / "registry", tokens.settings)
    registry.start()
    yield registry
    registry.stop()


def login(engine: Engine, host: str, auth: dict[str, str]) -> tuple[int, Any]:
    return engine.request("POST", "/auth", {**auth, "serveraddress": host})


def test_passwords(engine: Engine, password_registry: Registry) -> None:
    host = password_registry.host
    password_registry.put_image("app", "1", [noise_layer(1000)])

    assert login(engine, host, ANN) == (
        200,
        {"Status": "Login Succeeded", "IdentityToken": ""},
    )
    assert login(engine, host, WRONG) == (
        401,
        {"message": f"login attempt to http://{host}/v2/ failed with status: 401 Unauthorized"},
    )
    assert engine.pull_fails(f"{host}/app:1") == (
        500,
        f'Head "http://{host}/v2/app/manifests/1": no basic auth credentials',
    )
    assert engine.pull_fails(f"{host}/app:1", WRONG)[1].startswith("unauthorized: ")
    engine.pull(f"{host}/app:1", ANN)
    engine.push(f"{host}/app", ANN, tag="1")


def test_tokens(engine: Engine, token_registry: Registry, tokens: TokenServer) -> None:
    host = token_registry.host
    for name in ("public", "private"):
        token_registry.authorization = tokens.authorization(f"repository:{name}:pull,push")
        token_registry.put_image(name, "1", [noise_layer(1000)])

    engine.pull(f"{host}/public:1")
    status, text = engine.pull_fails(f"{host}/private:1")
    assert status == 404
    assert text.startswith(
        f"pull access denied for {host}/private, repository does not exist or may require "
        "'docker login': denied: requested access to the resource is denied"
    )
    refused = "unauthorized: incorrect username or password"
    status, text = engine.pull_fails(f"{host}/private:1", WRONG)
    assert (status, text) == (
        500,
        f'Head "http://{host}/v2/private/manifests/1": {refused}',
    )
    engine.pull(f"{host}/private:1", ANN)
    engine.pull(f"{host}/private:1", {"identitytoken": "refresh-ann"})
    assert login(engine, host, ANN) == (
        200,
        {"Status": "Login Succeeded", "IdentityToken": "refresh-ann"},
    )
    status, answer = login(engine, host, WRONG)
    assert (status, "incorrect username or password" in answer["message"]) == (401, True)


def test_pushing_with_tokens_mounts_across_repositories(
    engine: Engine, token_registry: Registry, tokens: TokenServer
) -> None:
    host = token_registry.host
    token_registry.authorization = tokens.authorization("repository:public:pull,push")
    token_registry.put_image("public", "1", [noise_layer(1000)])
    engine.pull(f"{host}/public:1")
    engine.request("POST", f"/images/{host}/public:1/tag?repo={host}/mine&tag=1")

    status, messages = engine.stream(f"/images/{host}/mine/push?tag=1")
    assert (status, "denied" in messages[-1]["error"]) == (200, True)
    messages = engine.push(f"{host}/mine", ANN, tag="1")

    assert "Mounted from public" in [message.get("status") for message in messages]
    assert "repository:mine:push,pull" in tokens.requests
    assert "repository:public:pull" in tokens.requests


def test_a_token_that_is_not_taken_any_more_is_fetched_anew(
    engine: Engine, token_registry: Registry, tokens: TokenServer
) -> None:
    proxy = FaultProxy(token_registry.host)
    try:
        token_registry.authorization = tokens.authorization("repository:public:pull,push")
        token_registry.put_image("public", "1", [noise_layer(1000)])
        challenge = (
            f'Bearer realm="{tokens.settings["token"]["realm"]}",service="test registry",'
            'scope="repository:public:pull",error="invalid_token"'
        )
        headers = {"WWW-Authenticate": challenge}
        proxy.add(Fault("^GET .*/blobs/", status=401, headers=headers))

        engine.pull(f"{proxy.host}/public:1")

        assert tokens.requests.count("repository:public:pull") == 2
    finally:
        proxy.stop()


@pytest.fixture
def secure_registry(loopback: None, directory: Path) -> Iterator[tuple[Registry, Authority]]:
    """Speaks TLS only, wants a certificate of who comes, and is not on loopback."""
    address = "10.99.0.1"
    subprocess.run(["ip", "address", "replace", f"{address}/32", "dev", "lo"], check=True)
    authority = Authority(directory)
    registry = Registry(
        directory / "registry",
        tls=authority.issue("server", address),
        client_authority=authority.path,
        address=address,
    )
    registry.start()
    yield registry, authority
    registry.stop()


def test_certificates(
    images: Path, directory: Path, secure_registry: tuple[Registry, Authority]
) -> None:
    registry, authority = secure_registry
    certificates = directory / "certs.d"
    mine = certificates / registry.host
    mine.mkdir(parents=True)
    for engine in run_engine(images, f"--certs-dir={certificates}"):
        name = f"{registry.host}/app:1"
        unknown = f"tls: failed to verify certificate: {UNKNOWN}"
        assert engine.pull_fails(name) == (
            500,
            f'Get "https://{registry.host}/v2/": {unknown}',
        )
        shutil.copy(authority.path, mine / "ca.crt")
        status, text = engine.pull_fails(name)
        assert (status, text.startswith(f'Get "https://{registry.host}/v2/": ')) == (500, True)
        client = authority.issue("client")
        shutil.copy(client[0], mine / "client.cert")
        status, text = engine.pull_fails(name)
        assert (status, text.startswith("missing key client.key for ")) == (400, True)
        shutil.copy(client[1], mine / "client.key")
        status, text = engine.pull_fails(name)
        assert (status, "not found: manifest unknown" in text) == (404, True)


def test_mirrors_and_search(images: Path, registry: Registry) -> None:
    layer = noise_layer(1000)
    manifest = registry.put_image("library/mirrored", "latest", [layer])
    for engine in run_engine(
        images, f"--registry-mirror=http://{registry.host}", f"--search-registry={registry.host}"
    ):
        messages = engine.pull("mirrored")

        assert messages[0] == {"status": "Pulling from library/mirrored", "id": "latest"}
        _, image = engine.request("GET", "/images/mirrored/json")
        assert image["RepoTags"] == ["mirrored:latest"]
        assert image["RepoDigests"] == [f"mirrored@{digest_of(manifest)}"]
        status, found = engine.request("GET", "/images/search?term=mirror")
        assert (status, [item["name"] for item in found]) == (
            200,
            [f"{registry.host}/library/mirrored"],
        )
        assert engine.request("GET", "/images/search?term=mirror&limit=101")[0] == 400
        assert engine.request("GET", "/images/search?term=http://x/y")[0] == 400
        starred = json.dumps({"stars": ["3"]}, separators=(",", ":"))
        assert engine.request("GET", f"/images/search?term=mirror&filters={starred}") == (200, [])


def test_distribution(engine: Engine, registry: Registry) -> None:
    repository = unique("distribution")
    manifest = registry.put_image(repository, "1", [noise_layer(1000)])
    name = f"{registry.host}/{repository}"

    status, found = engine.request("GET", f"/distribution/{name}:1/json")

    assert status == 200
    assert found["Descriptor"] == {
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "digest": digest_of(manifest),
        "size": len(manifest),
    }
    assert found["Platforms"] == [{"architecture": "amd64", "os": "linux"}]
    status, answer = engine.request("GET", f"/distribution/{name}:2/json")
    assert (status, answer["message"]) == (404, "manifest unknown: manifest unknown")
    assert engine.request("GET", f"/distribution/{'ab' * 32}/json")[0] == 500


def test_the_docker_command(engine: Engine, password_registry: Registry) -> None:
    if shutil.which("docker") is None:
        pytest.skip("the docker command is not installed")
    host = password_registry.host
    password_registry.put_image("app", "latest", [noise_layer(1000)])
    environment = {
        **os.environ,
        "DOCKER_HOST": f"unix://{engine.socket_path}",
        "DOCKER_CONFIG": str(engine.directory),
    }

    def docker(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *words],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    denied = docker("pull", f"{host}/app")
    assert (denied.returncode, "no basic auth credentials" in denied.stderr) == (1, True)
    logged_in = docker("login", "-u", "ann", "--password-stdin", host, stdin="secret")
    assert "Login Succeeded" in logged_in.stdout, logged_in.stderr
    pulled = docker("pull", f"{host}/app")
    assert f"Status: Downloaded newer image for {host}/app:latest" in pulled.stdout, pulled.stderr
    assert docker("tag", f"{host}/app", f"{host}/copy:2").returncode == 0
    pushed = docker("push", f"{host}/copy:2")
    assert "2: digest: sha256:" in pushed.stdout, pushed.stderr
    assert password_registry.manifest("copy", "2") == password_registry.manifest("app", "latest")
