"""What the store remembers about layers and images, and how that is kept as JSON.

Records are written by the engine from a worker's checked results, and read at each start.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orlop.lib.errors import Internal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_RECORD_BYTES = 24 << 20


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """A layer that is in the store, whole. *content_bytes* is the sum of its files' sizes."""

    diff_id: str
    tar_bytes: int
    index_bytes: int
    index_crc: int
    content_bytes: int
    files: int

    @property
    def hex(self) -> str:
        return self.diff_id.partition(":")[2]

    def to_json(self) -> dict[str, object]:
        return {
            "diff_id": self.diff_id,
            "tar_bytes": self.tar_bytes,
            "index_bytes": self.index_bytes,
            "index_crc": self.index_crc,
            "content_bytes": self.content_bytes,
            "files": self.files,
        }


def layer_from(data: Mapping[str, Any]) -> LayerRecord:
    """A layer's record from JSON, or from a worker's answer, which has these fields among others.

    Raises:
        Internal: a field is missing or of the wrong type.
    """
    numbers = ("tar_bytes", "index_bytes", "index_crc", "content_bytes", "files")
    try:
        values = [data[key] for key in numbers]
        diff_id = data["diff_id"]
    except KeyError as error:
        raise Internal(f"the record of a layer has no {error}") from None
    if not isinstance(diff_id, str) or not all(isinstance(value, int) for value in values):
        raise Internal("the record of a layer is wrong")
    return LayerRecord(diff_id, *values)


@dataclass(frozen=True, slots=True)
class BlobRecord:
    """A blob that a manifest names: a compressed layer as a registry has it."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class ManifestRecord:
    """The manifest an image came with; its bytes are the blob *digest*."""

    digest: str
    size: int
    media_type: str
    layers: tuple[BlobRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """An image. *config* is its configuration as parsed JSON; the bytes are the blob *id*."""

    id: str
    layers: tuple[str, ...]
    """Diff ids, the lowest first."""
    config: Mapping[str, Any]
    manifest: ManifestRecord | None = None
    parent: str = ""
    """The image it was built from here."""
    added_ns: int = 0
    removed: bool = False
    """Deleted by its user while a container still needs it."""
    created_ns: int = 0
    """What the configuration says, whatever is given here."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "created_ns", parse_created(self.config.get("created")))

    @property
    def hex(self) -> str:
        return self.id.partition(":")[2]

    def section(self) -> dict[str, Any]:
        """The `config` of the configuration: what a container takes from it."""
        section = self.config.get("config")
        return section if isinstance(section, dict) else {}

    def to_json(self) -> dict[str, object]:
        manifest = None
        if self.manifest is not None:
            manifest = {
                "digest": self.manifest.digest,
                "size": self.manifest.size,
                "media_type": self.manifest.media_type,
                "layers": [[b.digest, b.size, b.media_type] for b in self.manifest.layers],
            }
        return {
            "id": self.id,
            "layers": list(self.layers),
            "manifest": manifest,
            "parent": self.parent,
            "added_ns": self.added_ns,
            "removed": self.removed,
            "config": self.config,
        }


def image_from(data: Mapping[str, Any]) -> ImageRecord:
    """The opposite of `ImageRecord.to_json`.

    Raises:
        Internal: a field is missing or of the wrong type.
    """
    try:
        manifest = data.get("manifest")
        return ImageRecord(
            id=str(data["id"]),
            layers=tuple(map(str, data["layers"])),
            config=dict(data["config"]),
            manifest=manifest_from(manifest) if manifest else None,
            parent=str(data.get("parent", "")),
            added_ns=int(data.get("added_ns", 0)),
            removed=bool(data.get("removed")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Internal(f"the record of an image is wrong: {error}") from error


def manifest_from(data: Mapping[str, Any]) -> ManifestRecord:
    """A manifest's record from JSON or from a worker's answer."""
    return ManifestRecord(
        str(data["digest"]),
        int(data["size"]),
        str(data["media_type"]),
        tuple(BlobRecord(str(item[0]), int(item[1]), str(item[2])) for item in data["layers"]),
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of ours.

    Raises:
        OSError, Internal: it cannot be read, or is damaged.
    """
    with open(path, "rb") as stream:
        data = stream.read(MAX_RECORD_BYTES)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Internal(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise Internal(f"{path} is damaged: not an object")
    return value


def parse_created(text: object) -> int:
    """RFC 3339 to nanoseconds since 1970; 0 for what is none, as for dates before."""
    if not isinstance(text, str):
        return 0
    head, dot, tail = text.partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    fraction, zone = (tail[:digits], tail[digits:]) if dot else ("", "")
    try:
        moment = datetime.fromisoformat(head + zone)
        if moment.tzinfo is None:
            return 0
        whole = int(moment.timestamp())
    except (ValueError, OverflowError):
        return 0
    return max(whole * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or 0), 0)
