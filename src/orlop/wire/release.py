"""The manifest of a release: one document that names everything a machine runs, by digest.

It is the TUF target `releases/VERSION.json`; what it names are the targets `blobs/SHA256`. Whoever
reads one has checked its digest before. Channels, which say who takes which release when, are in
`wire.channel`. Pure; described in docs/releases.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.config.kinds_health import parse_checks
from orlop.wire.json_fields import SHA256, Fields, canonical, format_moment, parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orlop.wire.compose_model import Json

FORMAT = 1
MAX_BYTES = 256 << 10
MAX_IMAGE_BYTES = 512 << 20
MAX_EXTRAS_BYTES = 256 << 20
MAX_ARCHIVE_BYTES = 8 << 30
MAX_COMMAND_LINE = 2048
MAX_DEFINITION = 64 << 10
ARCHITECTURE = "amd64"

VERSION = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z.+~_-]{0,62}[0-9A-Za-z])?")
_BUILD = re.compile(r"[0-9a-f]{8,64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SERVICE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_PRINTABLE = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True)
class Blob:
    """A file by its content: the target `blobs/SHA256`."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Image(Blob):
    """A unified kernel image. *kernel* and *initrd* are where they lie in it: start and count of
    sectors of 512 bytes. *build* is what `release.json` within says."""

    build: str
    kernel: tuple[int, int] = (0, 0)
    initrd: tuple[int, int] = (0, 0)
    command_line: str = ""


@dataclass(frozen=True, slots=True)
class Delta(Blob):
    """What makes the image out of another one, whose digest is *source*."""

    source: str


@dataclass(frozen=True, slots=True)
class Service:
    """A system service that is not, or not as, in the image. *digest* is the image's manifest's,
    *archive* the blob it comes in, *definition* a Compose file that describes the service; empty is
    the one that the image has. *epoch* counts formats of its data. *handover*: the new one starts
    before the old one ends."""

    digest: str
    archive: Blob | None = None
    definition: str = ""
    epoch: int = 0
    handover: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release. A higher *sequence* is newer. A machine may come from *minimum_sequence* on, until
    *not_after* (seconds since 1970; 0 is for ever). *dead_end* is why nothing follows it; empty if
    something does. *extras* are those of the image's build, where machines use them. *health* are
    checks beside the machine's own: `required` and `wanted` of `orlop.health`, in normal form."""

    version: str
    sequence: int
    image: Image
    extras: Blob | None = None
    services: Mapping[str, Service] = field(default_factory=dict)
    deltas: tuple[Delta, ...] = ()
    minimum_sequence: int = 0
    not_after: int = 0
    health: Mapping[str, Json] = field(default_factory=dict)
    dead_end: str = ""
    architecture: str = ARCHITECTURE

    def blobs(self) -> Iterator[Blob]:
        """Everything it names but deltas: what has to be there for it to be installed."""
        yield self.image
        if self.extras is not None:
            yield self.extras
        for service in self.services.values():
            if service.archive is not None:
                yield service.archive


def target_name(version: str) -> str:
    """The TUF target that holds the manifest of *version*."""
    return f"releases/{version}.json"


def blob_name(sha256: str) -> str:
    """The TUF target that holds a blob."""
    return f"blobs/{sha256}"


def parse_release(data: bytes, version: str) -> Release:
    """The manifest in *data*, which is to be that of *version*.

    Raises:
        InvalidArgument: it is none, or another's; says which field is wrong.
    """
    fields = parse_object(data, f"the manifest of release {version}", MAX_BYTES)
    fields.number("format", FORMAT, FORMAT)
    if fields.text("version", VERSION) != version:
        raise fields.error("version", f"is not {version}")
    return Release(
        version=version,
        sequence=fields.number("sequence", 1),
        architecture=fields.text("architecture"),
        image=_image(fields.section("image")),
        extras=_blob(fields.section("extras"), MAX_EXTRAS_BYTES) if "extras" in fields else None,
        services={
            name: _service(name, entry) for name, entry in fields.sections("services").items()
        },
        deltas=tuple(map(_delta, fields.entries("deltas"))),
        minimum_sequence=fields.number("minimum_sequence", default=0),
        not_after=fields.moment("not_after") if "not_after" in fields else 0,
        health=parse_checks(fields.raw("health") or {}, fields.where),
        dead_end=fields.text("dead_end", _PRINTABLE, default=""),
    )


def format_release(release: Release) -> bytes:
    """The manifest as it is signed: `parse_release` reads it."""
    image = release.image
    data: dict[str, Json] = {
        "format": FORMAT,
        "version": release.version,
        "sequence": release.sequence,
        "architecture": release.architecture,
        "image": {
            **_blob_json(image),
            "build": image.build,
            "kernel": [*image.kernel],
            "initrd": [*image.initrd],
            "command_line": image.command_line,
        },
        "services": {name: _service_json(entry) for name, entry in release.services.items()},
        "deltas": [{**_blob_json(delta), "from": delta.source} for delta in release.deltas],
        "minimum_sequence": release.minimum_sequence,
        "health": dict(release.health),
    }
    if release.extras is not None:
        data["extras"] = _blob_json(release.extras)
    if release.not_after:
        data["not_after"] = format_moment(release.not_after)
    if release.dead_end:
        data["dead_end"] = release.dead_end
    return canonical(data)


def _blob(fields: Fields, limit: int) -> Blob:
    return Blob(fields.text("sha256", SHA256), fields.number("size_bytes", 1, limit))


def _image(fields: Fields) -> Image:
    blob = _blob(fields, MAX_IMAGE_BYTES)
    return Image(
        blob.sha256,
        blob.size_bytes,
        fields.text("build", _BUILD),
        _extent(fields, "kernel", blob.size_bytes),
        _extent(fields, "initrd", blob.size_bytes),
        fields.text("command_line", _PRINTABLE, default="", limit=MAX_COMMAND_LINE),
    )


def _extent(fields: Fields, key: str, size_bytes: int) -> tuple[int, int]:
    match fields.items(key):
        # The last sector may be cut: a section ends where its bytes do.
        case [int(start), int(count)] if (
            start > 0 and count > 0 and (start + count - 1) * 512 < size_bytes
        ):
            return start, count
        case _:
            raise fields.error(key, "must be [START, COUNT] in sectors within the image")


def _delta(fields: Fields) -> Delta:
    blob = _blob(fields, MAX_IMAGE_BYTES)
    return Delta(blob.sha256, blob.size_bytes, fields.text("from", SHA256))


def _service(name: str, fields: Fields) -> Service:
    if _SERVICE.fullmatch(name) is None:
        raise InvalidArgument(f"{fields.where}: not the name of a service")
    archive = _blob(fields.section("archive"), MAX_ARCHIVE_BYTES) if "archive" in fields else None
    return Service(
        fields.text("digest", _DIGEST),
        archive,
        fields.text("definition", default="", limit=MAX_DEFINITION),
        fields.number("epoch", default=0),
        fields.flag("handover"),
    )


def _blob_json(blob: Blob) -> dict[str, Json]:
    return {"sha256": blob.sha256, "size_bytes": blob.size_bytes}


def _service_json(service: Service) -> dict[str, Json]:
    data: dict[str, Json] = {
        "digest": service.digest,
        "definition": service.definition,
        "epoch": service.epoch,
        "handover": service.handover,
    }
    if service.archive is not None:
        data["archive"] = _blob_json(service.archive)
    return data
