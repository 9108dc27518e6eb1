"""Manifests and indexes of images: Docker's schema 2 and OCI's, read strictly and within limits.

Source: OCI image specification 1.1 (manifest.md, image-index.md) and the distribution project's
"Image Manifest Version 2, Schema 2". Texts of errors are dockerd's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.wire.registry.platform import Platform, normalize, rank
from orlop.wire.registry.reference import check_digest

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_TAR = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_PLUGIN = "application/vnd.docker.plugin.v1+json"
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
SCHEMA1_UNSIGNED = "application/vnd.docker.distribution.manifest.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"

ACCEPT = (DOCKER_MANIFEST, OCI_MANIFEST, DOCKER_LIST, OCI_INDEX, SCHEMA1)
"""What to ask a registry for; the old schema for the sake of a clear refusal."""

MAX_MANIFEST_BYTES = 4 << 20
MAX_CONFIG_BYTES = 8 << 20
MAX_LAYERS = 500
"""As many directories as an overlay mount takes."""

MAX_MANIFESTS = 1024
MAX_BLOB_BYTES = 1 << 44

_MANIFESTS = (DOCKER_MANIFEST, OCI_MANIFEST)
_INDEXES = (DOCKER_LIST, OCI_INDEX)
_IMAGE_CONFIGS = frozenset(
    {DOCKER_CONFIG, OCI_CONFIG, "application/octet-stream", "application/json", "text/html", ""}
)
_SUPPORTED = ("application/vnd.oci.image", "application/vnd.docker")
_SUPPORTED_EXACTLY = frozenset({"application/octet-stream", "application/json", "text/html", ""})

_SCHEMA1_TEXT = (
    "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed."
    "{} More information at https://docs.docker.com/go/deprecated-image-specs/"
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a blob or manifest is, how it is called and how many bytes it has."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Of one platform. *layers* are in the order they are applied, the base first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """*platform* is None where the index says nothing."""

    descriptor: Descriptor
    platform: Platform | None
    raw_platform: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Index:
    """Of several platforms."""

    media_type: str
    manifests: tuple[IndexEntry, ...]


def parse_manifest(data: bytes, media_type: str, reference: str = "") -> Manifest | Index:
    """What *data* is; *media_type* is the registry's word, the content's own counts more.

    Raises:
        InvalidArgument: malformed, too large, or of a kind that is not supported; *reference* is
            named where dockerd names it.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise InvalidArgument(f"the manifest is larger than {MAX_MANIFEST_BYTES} bytes")
    document = _load(data, "manifest")
    kind = _kind_of(document, media_type.partition(";")[0].strip().lower(), reference)
    if kind in _MANIFESTS:
        if "manifests" in document or "fsLayers" in document:
            raise InvalidArgument(f'media-type: "{kind}" should not have "manifests" or "fsLayers"')
        return _parse_image_manifest(document, kind)
    if "config" in document or "layers" in document or "fsLayers" in document:
        raise InvalidArgument(
            f'media-type: "{kind}" should not have "config", "layers", or "fsLayers"'
        )
    return _parse_index(document, kind)


def select(index: Index, wanted: Platform) -> list[IndexEntry]:
    """The entries that run on *wanted*, the best first; those that name no platform come last."""
    ranked = []
    for place, entry in enumerate(index.manifests):
        if entry.platform is None:
            ranked.append((1000, place, entry))
        elif (order := rank(wanted, entry.platform)) is not None:
            ranked.append((order, place, entry))
    return [entry for _, _, entry in sorted(ranked, key=lambda item: item[:2])]


def parse_diff_ids(config: bytes) -> tuple[list[str], str, str, str]:
    """Of an image's configuration: its layers' diff IDs, operating system, architecture, variant.

    Raises:
        InvalidArgument: malformed or without layers' names.
    """
    if len(config) > MAX_CONFIG_BYTES:
        raise InvalidArgument(f"the image configuration is larger than {MAX_CONFIG_BYTES} bytes")
    document = _load(config, "image configuration")
    rootfs = document.get("rootfs")
    if not isinstance(rootfs, dict) or rootfs.get("type", "layers") != "layers":
        raise InvalidArgument("invalid rootfs in image configuration")
    ids = rootfs.get("diff_ids") or []
    if not isinstance(ids, list) or len(ids) > MAX_LAYERS:
        raise InvalidArgument("invalid rootfs in image configuration")
    texts = [document.get(key, "") for key in ("os", "architecture", "variant")]
    if not all(isinstance(text, str) for text in (*texts, *ids)):
        raise InvalidArgument("invalid rootfs in image configuration")
    return [_sha256(check_digest(diff_id)) for diff_id in ids], texts[0], texts[1], texts[2]


def build_manifest(config: Descriptor, layers: list[Descriptor]) -> bytes:
    """A schema 2 manifest, byte for byte as dockerd's push writes it."""
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": _to_json(config),
        "layers": [_to_json(layer) for layer in layers],
    }
    return json.dumps(document, indent=3, separators=(",", ": ")).encode()


def _to_json(descriptor: Descriptor) -> dict[str, str | int]:
    return {
        "mediaType": descriptor.media_type,
        "size": descriptor.size,
        "digest": descriptor.digest,
    }


def schema1_error(reference: str = "") -> InvalidArgument:
    """What is said about images of Docker's first days."""
    advice = (
        f" Suggest the author of {reference} to upgrade the image to the OCI Format or Docker "
        "Image manifest v2, schema 2."
    )
    return InvalidArgument(_SCHEMA1_TEXT.format(advice if reference else ""))


def _load(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"cannot read the {what}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidArgument(f"cannot read the {what}: not a JSON object")
    return document


def _kind_of(document: dict[str, Any], announced: str, reference: str) -> str:
    own = document.get("mediaType", "")
    if not isinstance(own, str):
        raise InvalidArgument("unsupported manifest format")
    if announced in (SCHEMA1, SCHEMA1_UNSIGNED) or own in (SCHEMA1, SCHEMA1_UNSIGNED):
        raise schema1_error(reference)
    for kind in (own, announced):
        if kind in _MANIFESTS or kind in _INDEXES:
            return kind
    if own:
        raise InvalidArgument("unsupported manifest format")
    if "fsLayers" in document:
        raise schema1_error(reference)
    if "config" in document or "layers" in document:
        return OCI_MANIFEST
    if "manifests" in document:
        return OCI_INDEX
    raise InvalidArgument("unsupported manifest format")


def _parse_image_manifest(document: dict[str, Any], kind: str) -> Manifest:
    config = _descriptor(document.get("config"), "config")
    check_config_type(config.media_type)
    layers = document.get("layers") or []
    if not isinstance(layers, list):
        raise InvalidArgument("manifest: layers: a list expected")
    if len(layers) > MAX_LAYERS:
        raise InvalidArgument(f"the image has more than {MAX_LAYERS} layers")
    parsed = tuple(_descriptor(layer, "layers") for layer in layers)
    for layer in parsed:
        _check_supported(layer.media_type)
    if config.size > MAX_CONFIG_BYTES:
        raise InvalidArgument(f"the image configuration is larger than {MAX_CONFIG_BYTES} bytes")
    return Manifest(kind, config, parsed)


def check_config_type(media_type: str) -> None:
    """Refuse what is no image: plugins, charts, models.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    if media_type in _IMAGE_CONFIGS:
        return
    if media_type == DOCKER_PLUGIN:
        raise InvalidArgument(f'Encountered remote "{media_type}"(plugin) when fetching')
    if media_type.startswith("application/vnd.docker.ai."):
        raise InvalidArgument(
            "AI models are not yet supported by the Engine, please use "
            '"docker model pull/run" instead'
        )
    _check_supported(media_type)
    raise InvalidArgument(f'Encountered remote "{media_type}"(unknown) when fetching')


def _check_supported(media_type: str) -> None:
    lower = media_type.lower()
    if lower in _SUPPORTED_EXACTLY or any(
        lower == prefix or lower.startswith(prefix + ".") for prefix in _SUPPORTED
    ):
        return
    raise InvalidArgument(f"unsupported media type {media_type[:200]}")


def _parse_index(document: dict[str, Any], kind: str) -> Index:
    entries = document.get("manifests") or []
    if not isinstance(entries, list):
        raise InvalidArgument("manifest list: manifests: a list expected")
    if len(entries) > MAX_MANIFESTS:
        raise InvalidArgument(f"the manifest list has more than {MAX_MANIFESTS} entries")
    return Index(kind, tuple(_index_entry(entry) for entry in entries))


def _index_entry(data: object) -> IndexEntry:
    descriptor = _descriptor(data, "manifests")
    assert isinstance(data, dict)
    raw = data.get("platform")
    if raw is None:
        return IndexEntry(descriptor, None, {})
    if not isinstance(raw, dict):
        raise InvalidArgument("manifest list: platform: an object expected")
    texts = [raw.get(key, "") for key in ("os", "architecture", "variant")]
    if not all(isinstance(text, str) and len(text) < 256 for text in texts):
        raise InvalidArgument("manifest list: platform: strings expected")
    platform = normalize(*texts) if any(texts) else None
    return IndexEntry(descriptor, platform, raw)


def _descriptor(data: object, where: str) -> Descriptor:
    if not isinstance(data, dict):
        raise InvalidArgument(f"manifest: {where}: an object expected")
    media_type, digest, size = (data.get(key) for key in ("mediaType", "digest", "size"))
    if not isinstance(media_type, str | None) or not isinstance(digest, str):
        raise InvalidArgument(f"manifest: {where}: mediaType and digest must be strings")
    try:
        _sha256(check_digest(digest))
    except OrlopError as error:
        raise InvalidArgument(
            f'could not validate layer digest "{digest[:200]}": {error}'
        ) from error
    if type(size) is not int or not 0 <= size <= MAX_BLOB_BYTES:
        raise InvalidArgument(f"manifest: {where}: {digest}: impossible size")
    return Descriptor(media_type or "", digest, size)


def _sha256(digest: str) -> str:
    """Other algorithms are defined, but no registry's images use them and no store here does."""
    if not digest.startswith("sha256:"):
        raise InvalidArgument("unsupported digest algorithm")
    return digest
