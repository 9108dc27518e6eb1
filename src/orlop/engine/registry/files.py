"""Single files: from a web server, or as an artifact in a registry. Worker only.

What comes is put into the staging directory as `NAME`; nothing is believed but its digest.
"""

from __future__ import annotations

import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from orlop.engine.registry.pulling import fetch_manifest
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError
from orlop.wire.registry.reference import check_digest

if TYPE_CHECKING:
    from orlop.engine.registry.http import Pool, Response
    from orlop.engine.registry.job import Job
    from orlop.engine.registry.session import Session

NAME = "download"
READ_BYTES = 256 << 10
IMAGE_CONFIGS = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
TITLE = "org.opencontainers.image.title"
ENDINGS = (".yml", ".yaml", ".json")


def fetch(pool: Pool, job: Job) -> dict[str, Any]:
    """The file at the job's URL, verified if the job has a digest.

    Raises:
        OrlopError: it cannot be had, or is not what it should be.
    """
    response = pool.request("GET", job.term, {})
    if response.status != 200:
        response.close()
        kind = NotFound if response.status in (404, 410) else OrlopError
        raise kind(f"{job.term}: the server answered {response.status} {response.reason}")
    return _save(response, job.max_layer_bytes, job.reference.digest, job.term)


def artifact(session: Session, job: Job) -> dict[str, Any]:
    """The file in an artifact, or that it is an image.

    Raises:
        OrlopError: there is neither.
    """
    session.ping()
    reference = job.reference.with_default_tag()
    data, _, digest = fetch_manifest(session, reference)
    layers = _layers(data, reference.familiar)
    if layers is None:
        return {"image": True, "manifest": digest}
    named = [layer for layer in layers if _is_definition(layer)] or layers
    if len(named) != 1:
        raise InvalidArgument(f"{reference.familiar}: one file expected, it has {len(named)}")
    blob = check_digest(str(named[0].get("digest")))
    response = session.call("GET", session.url(f"/blobs/{blob}"))
    found = _save(response, job.max_layer_bytes, blob, reference.familiar)
    return {**found, "image": False, "manifest": digest}


def _layers(manifest: bytes, what: str) -> list[dict[str, Any]] | None:
    """The files of an artifact; None for an image, or several of them."""
    try:
        document = json.loads(manifest)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{what}: its manifest is no JSON") from error
    if not isinstance(document, dict):
        raise InvalidArgument(f"{what}: its manifest is no object")
    if "manifests" in document:
        return None
    config, layers = document.get("config"), document.get("layers")
    kind = config.get("mediaType") if isinstance(config, dict) else ""
    if kind in IMAGE_CONFIGS and not document.get("artifactType"):
        return None
    if not isinstance(layers, list) or not all(isinstance(layer, dict) for layer in layers):
        raise InvalidArgument(f"{what}: its manifest has no layers")
    return layers


def _is_definition(layer: dict[str, Any]) -> bool:
    notes = layer.get("annotations")
    title = str(notes.get(TITLE, "")) if isinstance(notes, dict) else ""
    return title.endswith(ENDINGS) or "yaml" in str(layer.get("mediaType", ""))


def _save(response: Response, max_bytes: int, digest: str, what: str) -> dict[str, Any]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    hashed, size = sha256(), 0
    buffer = memoryview(bytearray(READ_BYTES))
    with os.fdopen(os.open(NAME, flags, 0o600), "wb") as stream:
        while count := response.read_into(buffer):
            size += count
            if size > max_bytes:
                response.close()
                raise InvalidArgument(f"{what}: longer than {max_bytes} bytes")
            hashed.update(buffer[:count])
            stream.write(buffer[:count])
    found = f"sha256:{hashed.hexdigest()}"
    if digest and found != digest:
        raise InvalidArgument(f"{what}: it has the digest {found}, {digest} was expected")
    return {"name": NAME, "digest": found, "size": size}
