"""The large image: six layers of real programs, as an archive and in a registry on loopback.

And the floor of moving it: what hashing and decompression alone take, with as many threads as
there are processors.
"""

import contextlib
import functools
import gzip
import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench.engine import images

NAME, TAG = "big", "1"
GZIP_LEVEL = 6
PIECE_BYTES = 1 << 20
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
REGISTRY = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {data}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True, slots=True)
class LargeImage:
    """*layers* are the tars, *blobs* the same compressed."""

    archive: Path
    config: bytes
    layers: tuple[Path, ...]
    blobs: tuple[Path, ...]


@functools.cache
def archive(work: Path, megabytes: int) -> LargeImage:
    """Made once, in *work*."""
    folder = work / "large"
    folder.mkdir()
    layers = images.large_layers(folder, megabytes * 10**6)
    path = folder / "large.tar"
    config = images.make_archive(path, f"{NAME}:{TAG}", layers)
    blobs = tuple(layer.with_suffix(".tar.gz") for layer in layers)
    return LargeImage(path, config, layers, blobs)


@functools.cache
def reference(work: Path, megabytes: int) -> str:
    """What to pull: the registry is started and filled when this is called first."""
    image = archive(work, megabytes)
    _each(_compress, image.layers)
    host, _ = _start_registry(work / "registry")
    connection = http.client.HTTPConnection(host)
    digests = list(_each(_digest, image.blobs))
    for blob, digest in zip(image.blobs, digests, strict=True):
        _upload(connection, digest, blob.read_bytes())
    config_digest = f"sha256:{hashlib.sha256(image.config).hexdigest()}"
    _upload(connection, config_digest, image.config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "size": len(image.config), "digest": config_digest},
        "layers": [
            {"mediaType": LAYER, "size": blob.stat().st_size, "digest": digest}
            for blob, digest in zip(image.blobs, digests, strict=True)
        ],
    }
    body = json.dumps(manifest).encode()
    _send(connection, "PUT", f"/v2/{NAME}/manifests/{TAG}", body, MANIFEST)
    return f"{host}/{NAME}:{TAG}"


@contextlib.contextmanager
def empty_registry(work: Path) -> Iterator[str]:
    """A registry with nothing in it; deleted afterwards."""
    directory = work / f"registry-{os.urandom(4).hex()}"
    host, process = _start_registry(directory)
    try:
        yield host
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory)


def hash_layers_s(image: LargeImage) -> float:
    """Reading and hashing the layers."""
    return _timed(_digest, image.layers)


def hash_blobs_s(image: LargeImage) -> float:
    """Reading and hashing the compressed layers."""
    return _timed(_digest, image.blobs)


def unpack_layers_s(image: LargeImage) -> float:
    """Hashing the compressed layers, unpacking them, and hashing what comes out."""
    return _timed(_unpack, image.blobs)


def _timed(work: Callable[[Path], object], paths: tuple[Path, ...]) -> float:
    started_s = time.perf_counter()
    _each(work, paths)
    return time.perf_counter() - started_s


def _each[T](work: Callable[[Path], T], paths: tuple[Path, ...]) -> list[T]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, paths))


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _compress(layer: Path) -> None:
    with layer.open("rb") as source, gzip.open(f"{layer}.gz", "wb", GZIP_LEVEL) as target:
        shutil.copyfileobj(source, target, PIECE_BYTES)


def _unpack(path: Path) -> None:
    packed, unpacked = hashlib.sha256(), hashlib.sha256()
    decompressor = zlib.decompressobj(wbits=31)
    with path.open("rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            packed.update(piece)
            unpacked.update(decompressor.decompress(piece))


def _start_registry(directory: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Its address, and its process: which ends with this benchmark's namespaces at the latest."""
    directory.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = directory / "registry.yml"
    settings.write_text(REGISTRY.format(data=directory / "data", port=port))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", settings], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return f"127.0.0.1:{port}", process
        time.sleep(0.05)
    raise RuntimeError("the registry does not answer")


def _upload(connection: http.client.HTTPConnection, digest: str, blob: bytes) -> None:
    location = _send(connection, "POST", f"/v2/{NAME}/blobs/uploads/", b"", "")
    mark = "&" if "?" in location else "?"
    _send(connection, "PUT", f"{location}{mark}digest={digest}", blob, "application/octet-stream")


def _send(
    connection: http.client.HTTPConnection, method: str, target: str, body: bytes, kind: str
) -> str:
    headers = {"Content-Length": str(len(body)), **({"Content-Type": kind} if kind else {})}
    connection.request(method, target, body, headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status not in (201, 202):
        raise RuntimeError(f"registry: {method} {target}: {response.status} {answer[:200]!r}")
    return response.getheader("Location", "")
