"""Image archives for tests, made with Python's own tarfile."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

from tests.engine.containers.engine_host import BUSYBOX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

APPLETS = "sh cat dd echo env false grep head id kill ls mkdir mount ps rm sleep touch true wc"


class LayerBuilder:
    """A layer's tar, entry by entry."""

    def __init__(self, format_: int = tarfile.PAX_FORMAT) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w", format=format_)  # noqa: SIM115

    def add(self, name: str, data: bytes = b"", **fields: Any) -> LayerBuilder:
        """An entry; *fields* are TarInfo's, `type` among them."""
        info = tarfile.TarInfo(name)
        info.mtime = 1_700_000_000
        for key, value in fields.items():
            setattr(info, key, value)
        info.size = len(data)
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def directory(self, name: str, mode: int = 0o755, **fields: Any) -> LayerBuilder:
        return self.add(name, type=tarfile.DIRTYPE, mode=mode, **fields)

    def link(self, name: str, target: str, **fields: Any) -> LayerBuilder:
        return self.add(name, type=tarfile.SYMTYPE, linkname=target, **fields)

    def finish(self) -> bytes:
        self._tar.close()
        return self._buffer.getvalue()


def busybox_layer() -> bytes:
    """A small root file system."""
    layer = LayerBuilder()
    for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("root", 0o700)):
        layer.directory(name, mode)
    layer.add("bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
    for applet in APPLETS.split():
        layer.link(f"bin/{applet}", "busybox")
    layer.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/:/bin/sh\n")
    layer.add("etc/group", b"root:x:0:\nalice:x:1000:\n")
    return layer.finish()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def config_of(layers: Sequence[bytes], **container: Any) -> bytes:
    """A configuration with these layers; *container* goes into its `config`."""
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-05-06T07:08:09.123456789Z",
        "config": {"Env": ["PATH=/bin", "FROM_IMAGE=1"], "Cmd": ["sh"], **container},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
        "history": [
            {"created": "2024-05-06T07:08:09Z", "created_by": f"step {number}"}
            for number, _ in enumerate(layers)
        ],
    }
    return json.dumps(document).encode()


def pack(files: Mapping[str, bytes]) -> bytes:
    """A tar of *files*, in their order."""
    builder = LayerBuilder(tarfile.USTAR_FORMAT)
    for name, data in files.items():
        builder.add(name, data)
    return builder.finish()


def docker_archive(
    layers: Sequence[bytes], tags: Sequence[str] = (), config: bytes | None = None
) -> bytes:
    """As `docker save` wrote it before 25: a folder for each layer."""
    config = config_of(layers) if config is None else config
    name = hashlib.sha256(config).hexdigest()
    files: dict[str, bytes] = {}
    paths = []
    for layer in layers:
        paths.append(f"{hashlib.sha256(layer).hexdigest()}/layer.tar")
        files[paths[-1]] = layer
    files[f"{name}.json"] = config
    item = {"Config": f"{name}.json", "RepoTags": list(tags), "Layers": paths}
    files["manifest.json"] = json.dumps([item]).encode()
    return pack(files)


def oci_archive(
    layers: Sequence[bytes],
    *,
    compress: Mapping[int, str],
    name: str = "",
    platforms: bool = False,
) -> bytes:
    """An OCI layout; *compress* says how to pack which layer: `gzip` or `zstd`.

    With *platforms* behind an index that also names an image for a machine nobody has.
    """
    blobs: dict[str, bytes] = {}

    def put(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        blobs[f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    packed = []
    for number, layer in enumerate(layers):
        kind = compress.get(number, "")
        suffix = f"+{kind}" if kind else ""
        packed.append(
            put(pack_with(layer, kind), f"application/vnd.oci.image.layer.v1.tar{suffix}")
        )
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(config_of(layers), "application/vnd.oci.image.config.v1+json"),
        "layers": packed,
    }
    notes = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
    chosen = put(json.dumps(manifest).encode(), manifest["mediaType"])  # type: ignore[arg-type]
    if platforms:
        other = {
            **chosen,
            "digest": digest(b"other"),
            "platform": {"os": "linux", "architecture": "s390x"},
        }
        chosen |= {"platform": {"os": "linux", "architecture": "amd64"}}
        index = {"schemaVersion": 2, "manifests": [other, chosen]}
        chosen = put(json.dumps(index).encode(), "application/vnd.oci.image.index.v1+json")
    top = {"schemaVersion": 2, "manifests": [{**chosen, **notes}]}
    layout = b'{"imageLayoutVersion":"1.0.0"}'
    return pack({**blobs, "index.json": json.dumps(top).encode(), "oci-layout": layout})


def pack_with(data: bytes, kind: str) -> bytes:
    """*data* compressed as *kind*, or as it is."""
    if kind == "gzip":
        return gzip.compress(data, mtime=0)
    if kind == "zstd":
        return subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout
    return data
