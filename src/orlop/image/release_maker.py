"""A release out of a build: its manifest, and every blob that it names, in a repository.

A release of the same inputs is the same bytes: no manifest says when or where it was made.
"""

import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from orlop.image.delta_maker import make_delta
from orlop.image.release_repository import Repository
from orlop.lib import unified_image
from orlop.lib.errors import Conflict, InvalidArgument, NotFound
from orlop.lib.kernel_payload import check_kernel
from orlop.lib.unified_image import Description
from orlop.wire.channel import Channel, parse_channel
from orlop.wire.channel import target_name as channel_target
from orlop.wire.compose_model import Json
from orlop.wire.release import (
    VERSION,
    Blob,
    Delta,
    Image,
    Release,
    Service,
    blob_name,
    format_release,
    parse_release,
)
from orlop.wire.release import target_name as release_target

DELTA_PAYS = 0.7
"""A delta of more than this share of the image is left out: not worth a second way to fail."""

KEPT_RELEASES = 3
"""The newest releases that a new one is made a delta from, unless told otherwise."""

MAX_MANIFEST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a release shall be; *version* and *sequence* are made from the build and the repository
    if they are empty. *delta_from* are versions in the repository or files; None is the newest
    ones."""

    image: Path
    extras: Path | None = None
    version: str = ""
    sequence: int = 0
    services: Mapping[str, Path] = field(default_factory=dict)
    definitions: Mapping[str, Path] = field(default_factory=dict)
    epochs: Mapping[str, int] = field(default_factory=dict)
    handover: frozenset[str] = frozenset()
    minimum_sequence: int = 0
    not_after: int = 0
    dead_end: str = ""
    health: Mapping[str, Json] = field(default_factory=dict)
    delta_from: Sequence[str] | None = None


def make_release(repository: Repository, wanted: Wanted) -> Release:
    """Add the release to *repository*; `publish` signs it.

    Raises:
        NotFound: a file is missing. Conflict: there is another release with that version or with a
            sequence that is not lower. InvalidArgument: the image or an archive is none.
    """
    others = releases(repository)
    newest = max((other.sequence for other in others.values()), default=0)
    image = describe_image(repository, wanted.image)
    extras = _extras(repository, image[0], wanted.extras)
    version = wanted.version or image[0].version
    if VERSION.fullmatch(version) is None:
        raise InvalidArgument(f"{version!r} cannot be the version of a release")
    if version in others:
        raise Conflict(f"there is a release {version} already", hint="--version")
    if wanted.sequence and wanted.sequence <= newest:
        raise Conflict(f"sequence {wanted.sequence} is not above {newest}, the newest release's")
    unknown = {*wanted.definitions, *wanted.epochs, *wanted.handover} - set(wanted.services)
    if unknown:
        raise InvalidArgument(f"no --service names {min(unknown)}")
    release = Release(
        version=version,
        sequence=wanted.sequence or newest + 1,
        image=image[1],
        extras=extras,
        services={
            name: _service(repository, wanted, name, path) for name, path in wanted.services.items()
        },
        minimum_sequence=wanted.minimum_sequence,
        not_after=wanted.not_after,
        dead_end=wanted.dead_end,
        health=wanted.health,
    )
    release = replace(release, deltas=_deltas(repository, wanted, others, release.image))
    data = format_release(release)
    repository.add(release_target(version), data)
    return parse_release(data, version)  # what a machine would refuse is not published


def releases(repository: Repository) -> dict[str, Release]:
    """All releases of *repository* by version."""
    return {
        version: parse_release(repository.read(release_target(version)), version)
        for version in repository.names("releases")
    }


def read_channel(repository: Repository, name: str) -> Channel | None:
    """The channel *name*; None if there is none."""
    target = channel_target(name)
    if target not in repository.targets:
        return None
    return parse_channel(repository.read(target), name)


def _extras(repository: Repository, image: Description, path: Path | None) -> Blob | None:
    if path is None:
        return None
    if not path.is_file():
        raise NotFound(f"{path} is not there", hint="./orlop build")
    if repository.blob(path).sha256 != image.extras:
        raise InvalidArgument(
            f"{path} are not the extras of the image's build, and it takes no others",
            hint="--extras FILE, or --no-extras for machines that use none",
        )
    return repository.add_blob(path)


def describe_image(repository: Repository, path: Path) -> tuple[Description, Image]:
    """What a unified kernel image says of itself, and its description; it is added as a blob.

    Raises:
        NotFound: there is no such file. InvalidArgument: it is none, or its kernel is damaged.
    """
    if not path.exists():
        raise NotFound(f"{path} is not there", hint="./orlop build")
    with path.open("rb") as stream:

        def read(offset: int, size: int) -> bytes:
            return os.pread(stream.fileno(), size, offset)

        found = unified_image.describe(read, str(path))
        check_kernel(read, found.kernel, str(path))
    blob = repository.add_blob(path)
    return found, Image(
        blob.sha256, blob.size_bytes, found.build, found.kernel, found.initrd, found.command_line
    )


def _service(repository: Repository, wanted: Wanted, name: str, archive: Path) -> Service:
    definition = ""
    if name in wanted.definitions:
        try:
            definition = wanted.definitions[name].read_text("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"{wanted.definitions[name]}: no text: {error}") from error
    return Service(
        image_digest(archive),
        repository.add_blob(archive),
        definition,
        wanted.epochs.get(name, 0),
        name in wanted.handover,
    )


def image_digest(archive: Path) -> str:
    """The digest of the one image in an archive, of `docker save` or an OCI layout: that of its
    configuration, or of its manifest where the archive does not say.

    Raises:
        InvalidArgument: it is none, or holds several images.
    """
    found: dict[str, object] = {}
    try:
        with tarfile.open(archive) as stream:
            for member in stream:
                name = member.name.removeprefix("./")
                if name in ("manifest.json", "index.json") and member.size < MAX_MANIFEST_BYTES:
                    content = stream.extractfile(member)
                    found[name] = json.loads(content.read()) if content is not None else None
    except FileNotFoundError as error:
        raise NotFound(f"{archive} is not there") from error
    except (OSError, tarfile.TarError, ValueError) as error:
        raise InvalidArgument(f"{archive}: no archive of an image: {error}") from error
    match found.get("manifest.json"), found.get("index.json"):
        case [{"Config": str(config)}], _:
            digest = Path(config).name.removesuffix(".json")
            return f"sha256:{digest}"
        case _, {"manifests": [{"digest": str(digest)}]}:
            return digest
    raise InvalidArgument(f"{archive}: an archive of one image is expected")


def _deltas(
    repository: Repository, wanted: Wanted, others: Mapping[str, Release], image: Image
) -> tuple[Delta, ...]:
    """Deltas to *image* from other images, each where it pays."""
    if wanted.delta_from is None:
        newest = sorted(others.values(), key=lambda other: other.sequence)[-KEPT_RELEASES:]
        sources = [o.version for o in newest if blob_name(o.image.sha256) in repository.targets]
    else:
        sources = list(wanted.delta_from)
    found: dict[str, Delta] = {}
    for source in sources:
        if source in others:
            before = Blob(others[source].image.sha256, others[source].image.size_bytes)
            if blob_name(before.sha256) not in repository.targets:
                raise NotFound(f"the image of release {source} was pruned: name its file instead")
            path = repository.path_of(blob_name(before.sha256))
        else:
            path = Path(source)
            if not path.is_file():
                raise NotFound(f"{source}: neither a release of the repository nor a file")
            before = repository.blob(path)
        if before.sha256 == image.sha256 or before.sha256 in found:
            continue
        with TemporaryDirectory() as scratch:
            target = Path(scratch) / "delta"
            new = repository.path_of(blob_name(image.sha256))
            make_delta(path, new, target)
            if target.stat().st_size <= image.size_bytes * DELTA_PAYS:
                blob = repository.add_blob(target)
                found[before.sha256] = Delta(blob.sha256, blob.size_bytes, before.sha256)
    return tuple(found.values())
