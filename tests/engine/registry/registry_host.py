"""Debian's docker-registry on loopback, and what tests put into it and read from it directly."""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import hashlib
import http.client
import json
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bcrypt(password: str) -> str:
    """As htpasswd files of the registry have it."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    hashed = library.crypt(password.encode(), b"$2y$04$abcdefghijklmnopqrstuu")
    assert isinstance(hashed, bytes)
    return hashed.decode()


@dataclass
class Registry:
    """One registry process. *auth* goes into its configuration as it is."""

    directory: Path
    auth: Mapping[str, Any] = field(default_factory=dict)
    tls: tuple[Path, Path] | None = None
    client_authority: Path | None = None
    authorization: str = ""
    address: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"{self.address}:{self.port}"

    def start(self) -> None:
        self.directory.mkdir(exist_ok=True)
        listening: dict[str, Any] = {"addr": self.host}
        if self.tls is not None:
            listening["tls"] = {"certificate": str(self.tls[0]), "key": str(self.tls[1])}
            if self.client_authority is not None:
                listening["tls"]["clientcas"] = [str(self.client_authority)]
        settings: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.directory / "data")},
                "delete": {"enabled": True},
            },
            "http": listening,
        }
        if self.auth:
            settings["auth"] = dict(self.auth)
        path = self.directory / "registry.yml"
        path.write_text(json.dumps(settings))  # YAML holds JSON
        log = (self.directory / "registry.log").open("wb")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", path], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        log.close()
        deadline_s = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.address, self.port)):
                return
            assert time.monotonic() < deadline_s, "the registry does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One exchange with the registry itself."""
        fields = dict(headers or {})
        if self.authorization:
            fields["Authorization"] = self.authorization
        connection: http.client.HTTPConnection
        if self.tls is not None:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(self.host, context=context, timeout=20)
        else:
            connection = http.client.HTTPConnection(self.host, timeout=20)
        try:
            connection.request(method, path, body, fields)
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()
        finally:
            connection.close()

    def put_blob(self, repository: str, data: bytes) -> str:
        """Upload *data*; its digest."""
        status, headers, body = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202, body
        location = headers["Location"].partition(self.host)[2]
        digest = digest_of(data)
        path = f"{location}{'&' if '?' in location else '?'}digest={digest}"
        status, _, body = self.request(
            "PUT", path, data, {"Content-Type": "application/octet-stream"}
        )
        assert status == 201, body
        return digest

    def put_manifest(self, repository: str, name: str, data: bytes, media_type: str) -> str:
        """Upload a manifest under a tag or digest; its digest."""
        path = f"/v2/{repository}/manifests/{name}"
        status, _, body = self.request("PUT", path, data, {"Content-Type": media_type})
        assert status == 201, body
        return digest_of(data)

    def put_image(
        self,
        repository: str,
        tag: str,
        layers: Sequence[bytes],
        *,
        config: Mapping[str, Any] | None = None,
        blobs: Sequence[tuple[bytes, str]] | None = None,
        oci: bool = False,
    ) -> bytes:
        """Upload an image of *layers* (tars), compressed unless *blobs* says otherwise.

        *blobs* holds (data, media type) for each layer. Returns the manifest.
        """
        if blobs is None:
            kind = f"{OCI_LAYER}+gzip" if oci else DOCKER_LAYER
            blobs = [(gzip.compress(layer, 1, mtime=0), kind) for layer in layers]
        document = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": {"origin": repository}},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
            **(config or {}),
        }
        config_data = json.dumps(document).encode()
        kind = OCI_MANIFEST if oci else DOCKER_MANIFEST
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": self._descriptor(
                repository, config_data, OCI_CONFIG if oci else DOCKER_CONFIG
            ),
            "layers": [self._descriptor(repository, data, kind) for data, kind in blobs],
            # Unusual white space: bytes that nobody would write again.
            "annotations": {"note": "kept"},
        }
        data = json.dumps(manifest, indent=5).encode() + b"\n"
        self.put_manifest(repository, tag, data, kind)
        return data

    def _descriptor(self, repository: str, data: bytes, kind: str) -> dict[str, Any]:
        return {"mediaType": kind, "size": len(data), "digest": self.put_blob(repository, data)}

    def manifest(self, repository: str, name: str) -> bytes:
        """The bytes of a manifest."""
        accept = ", ".join((DOCKER_MANIFEST, OCI_MANIFEST, OCI_INDEX))
        path = f"/v2/{repository}/manifests/{name}"
        status, _, body = self.request("GET", path, headers={"Accept": accept})
        assert status == 200, body
        return body

    def blob(self, repository: str, digest: str) -> bytes:
        status, _, body = self.request("GET", f"/v2/{repository}/blobs/{digest}")
        assert status == 200, body
        assert digest_of(body) == digest
        return body
