"""Images as a catalogue has them: an OCI layout in a tar, without a name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.engine.registry.registry_host import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    digest_of,
)
from tests.engine.store.archives import LayerBuilder


@dataclass(frozen=True)
class Archive:
    data: bytes
    manifest: str


def oci_archive(layers: list[bytes], command: str = "sh") -> Archive:
    """An OCI layout of one image as a tar, without a name."""
    builder, blobs = LayerBuilder(), {}

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        digest = digest_of(data)
        blobs[f"blobs/sha256/{digest[7:]}"] = data
        return {"mediaType": kind, "size": len(data), "digest": digest}

    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": [command]},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": blob(json.dumps(config).encode(), OCI_CONFIG),
        "layers": [blob(layer, OCI_LAYER) for layer in layers],
    }
    described = blob(json.dumps(manifest).encode(), OCI_MANIFEST)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [described]}
    builder.add("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    builder.add("index.json", json.dumps(index).encode())
    for name, data in blobs.items():
        builder.add(name, data)
    return Archive(builder.finish(), str(described["digest"]))
