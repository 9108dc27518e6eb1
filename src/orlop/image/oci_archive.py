"""Write an image as an archive that every engine loads: an OCI layout in a tar.

`manifest.json` beside the layout is for dockerd, which reads nothing else. The same layer and the
same configuration give the same bytes, on every machine and at any time: names are sorted, times
are the given epoch, and the compressor is zlib's own, whose version the tool root pins.
"""

import hashlib
import io
import json
import tarfile
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_GZIP = 16 + zlib.MAX_WBITS  # a gzip header without name and time
_LEVEL = 6  # 9 takes four times as long for one percent


@dataclass(frozen=True, slots=True)
class Blob:
    """Something that the layout names by digest: a file, or bytes."""

    media_type: str
    digest: str
    size_bytes: int
    content: Path | bytes

    @property
    def descriptor(self) -> dict[str, object]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}

    @property
    def member(self) -> str:
        return "blobs/" + self.digest.replace(":", "/")


def write_oci_archive(
    layer: Path,
    target: Path,
    *,
    reference: str,
    command: Sequence[str],
    labels: Mapping[str, str],
    epoch: int,
    scratch: Path,
) -> str:
    """Write the image of one layer, the tar at *layer*, to *target*; the digest of its manifest."""
    packed, diff_id = compress_layer(layer, scratch / "layer.tar.gz")
    config = json_blob(CONFIG, _config(diff_id, command, labels, epoch))
    manifest = json_blob(
        MANIFEST,
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor,
            "layers": [packed.descriptor],
        },
    )
    short = reference.rpartition(":")[2]
    annotations = {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": short,
    }
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [manifest.descriptor | {"annotations": annotations}],
    }
    docker = [{"Config": config.member, "RepoTags": [reference], "Layers": [packed.member]}]
    members: dict[str, Path | bytes] = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json(index),
        "manifest.json": _json(docker),
        **{blob.member: blob.content for blob in (manifest, config, packed)},
    }
    with target.open("wb") as stream:
        write_members(stream, members)
    return manifest.digest


def compress_layer(layer: Path, target: Path) -> tuple[Blob, str]:
    """Compress the tar at *layer* into *target*: the blob, and the digest before compression."""
    plain, packed, size = hashlib.sha256(), hashlib.sha256(), 0
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    with layer.open("rb") as source, target.open("wb") as stream:
        while chunk := source.read(CHUNK_BYTES):
            plain.update(chunk)
            data = compressor.compress(chunk)
            packed.update(data)
            size += stream.write(data)
        data = compressor.flush()
        packed.update(data)
        size += stream.write(data)
    blob = Blob(LAYER, f"sha256:{packed.hexdigest()}", size, target)
    return blob, f"sha256:{plain.hexdigest()}"


def json_blob(media_type: str, value: object) -> Blob:
    data = _json(value)
    return Blob(media_type, f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), data)


def write_members(stream: BinaryIO, members: Mapping[str, Path | bytes]) -> None:
    """Write *members* as a tar in their order: owner root, mode 0644, time 0."""
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, Path):
                member.size = content.stat().st_size
                with content.open("rb") as source:
                    archive.addfile(member, source)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def _config(
    diff_id: str, command: Sequence[str], labels: Mapping[str, str], epoch: int
) -> dict[str, object]:
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": [f"PATH={path}", "LANG=C.UTF-8"],
            "Cmd": list(command) or None,
            "WorkingDir": "/",
            "Labels": dict(labels),
        },
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": created, "created_by": "orlop catalogue build"}],
    }


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
