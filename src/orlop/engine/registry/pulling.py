"""Pull: from a reference to verified files in the staging directory. Worker only.

Besides questions (see `channel`) the engine gets `{"layer": FACTS}` for each layer as soon as it is
there, FACTS as in `store.worker`. The questions:

    image   {"id", "digest"}        -> {"have": bool}: whether that image and manifest are there
    layers  {"diff_ids", "blobs"}   -> {"have": [bool]}: which need no download
    commit  {"reference", "digest", "id", "media_type", "manifest", "config"}
                                    -> {"updated": bool}: whether anything is new

*reference* is [domain, path, tag, digest]; *digest* is the manifest's or the index's that it stands
for. *manifest* and *config* name files in the staging directory; null for an image that is there.
"""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orlop.engine.registry.layers import Downloads, Layer
from orlop.engine.registry.listing import list_tags
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError
from orlop.wire.registry import manifest as manifests
from orlop.wire.registry import progress
from orlop.wire.registry.manifest import Descriptor, Index, Manifest
from orlop.wire.registry.platform import (
    Platform,
    host_platform,
    normalize,
    parse_platform,
    rank,
)
from orlop.wire.registry.reference import check_digest, is_digest, short_id

if TYPE_CHECKING:
    from orlop.engine.registry.channel import Channel
    from orlop.engine.registry.job import Job
    from orlop.engine.registry.session import Session
    from orlop.wire.registry.reference import Reference

MAX_NESTING = 3
"""Of indexes in indexes."""

ACCEPT = ", ".join(manifests.ACCEPT)


class Pull:
    """One pull from one endpoint."""

    def __init__(self, job: Job, channel: Channel, session: Session, downloads: Downloads) -> None:
        self._job = job
        self._channel = channel
        self._session = session
        self._downloads = downloads
        host = host_platform(job.machine)
        self._platform = parse_platform(job.platform, host) if job.platform else host

    def run(self) -> dict[str, Any]:
        """Pull what the job names.

        Raises:
            OrlopError: any reason.
        """
        reference = self._job.reference
        updated = False
        if reference.is_name_only:
            for tag in list_tags(self._session):
                updated |= self._pull(reference.with_tag(tag))
        else:
            updated = self._pull(reference)
        text = "Downloaded newer image for" if updated else "Image is up to date for"
        self._channel.progress(progress.status(f"Status: {text} {reference.familiar}"))
        return {"updated": updated}

    def _pull(self, reference: Reference) -> bool:
        data, media_type, digest = fetch_manifest(self._session, reference)
        parsed = manifests.parse_manifest(data, media_type, str(reference))
        shown = reference.digest or reference.tag
        self._channel.progress(progress.status(f"Pulling from {reference.path}", shown))
        for manifest, manifest_data in self._candidates(parsed, data, MAX_NESTING):
            commit = self._fetch(manifest, manifest_data)
            self._channel.progress(progress.status(f"Digest: {digest}"))
            fields = [reference.domain, reference.path, reference.tag, reference.digest]
            answer = self._channel.ask("commit", reference=fields, digest=digest, **commit)
            return bool(answer["updated"])
        raise NotFound(f"no matching manifest for {self._platform} in the manifest list entries")

    def _candidates(
        self, parsed: Manifest | Index, data: bytes, depth: int
    ) -> list[tuple[Manifest, bytes]]:
        """What *parsed* holds for the platform: at most one, with its bytes."""
        if isinstance(parsed, Manifest):
            return [(parsed, data)]
        if depth == 0:
            raise InvalidArgument("the manifest list is nested too deeply")
        for entry in manifests.select(parsed, self._platform):
            found = entry.descriptor
            inner, media_type, _ = fetch_manifest(
                self._session, replace(self._job.reference, tag="", digest=found.digest), found
            )
            try:
                below = manifests.parse_manifest(inner, media_type or found.media_type)
            except InvalidArgument:
                if entry.platform is None:
                    continue  # attestations and other things that are no images
                raise
            if result := self._candidates(below, inner, depth - 1):
                return result
        return []

    def _fetch(self, manifest: Manifest, data: bytes) -> dict[str, Any]:
        """What to commit for *manifest*: everything that is not there already is staged."""
        manifest_digest = f"sha256:{sha256(data).hexdigest()}"
        commit: dict[str, Any] = {
            "id": manifest.config.digest,
            "media_type": manifest.media_type,
            "manifest": None,
            "config": None,
        }
        if self._channel.ask("image", id=manifest.config.digest, digest=manifest_digest)["have"]:
            return commit
        config = fetch_config(self._session, manifest.config)
        diff_ids, system, architecture, variant = manifests.parse_diff_ids(config)
        if system and system != "linux":
            raise OrlopError(
                f'cannot download image with operating system "{system}" when requesting "linux"'
            )
        if len(diff_ids) != len(manifest.layers):
            raise InvalidArgument("layers from manifest don't match image configuration")
        self._stage(manifest, diff_ids)
        commit["config"] = _write(f"config-{short_id(manifest.config.digest)}", config)
        commit["manifest"] = _write(f"manifest-{short_id(manifest_digest)}", data)
        self._warn(normalize(system or "linux", architecture, variant))
        return commit

    def _stage(self, manifest: Manifest, diff_ids: list[str]) -> None:
        blobs = [[layer.digest, layer.size] for layer in manifest.layers]
        have = self._channel.ask("layers", diff_ids=diff_ids, blobs=blobs)["have"]
        wanted: dict[str, Layer] = {}
        for descriptor, diff_id, is_there in zip(manifest.layers, diff_ids, have, strict=True):
            if is_there:
                text = progress.action("Already exists", short_id(descriptor.digest))
                self._channel.progress(text)
            elif descriptor.digest not in wanted:
                wanted[descriptor.digest] = Layer(descriptor, diff_id)
            elif wanted[descriptor.digest].diff_id != diff_id:
                raise InvalidArgument("layers from manifest don't match image configuration")
        self._downloads.run(self._session, list(wanted.values()))

    def _warn(self, platform: Platform) -> None:
        """An image of one platform only may be another than the one asked for."""
        if not self._job.platform or not platform.architecture:
            return
        if rank(self._platform, platform) is None:
            name = self._job.reference.familiar
            text = (
                f"WARNING: image with reference {name} was found but its platform ({platform}) "
                f"does not match the specified platform ({self._platform})"
            )
            self._channel.progress(progress.status(text))


def fetch_manifest(
    session: Session, reference: Reference, expected: Descriptor | None = None
) -> tuple[bytes, str, str]:
    """The manifest of a tag or digest, its media type and its digest, which is verified.

    Raises:
        OrlopError: not there, too large, or not what it should be.
    """
    digest = reference.digest
    if not digest:
        # Asking for the head alone first costs little, and does not count where pulls are counted.
        url = session.url(f"/manifests/{quote(reference.tag, safe='')}")
        digest = _head(session, url)
        where = digest or reference.tag
    else:
        where = digest
    url = session.url(f"/manifests/{where}")
    response = session.call("GET", url, headers={"Accept": ACCEPT})
    data = response.read_all(manifests.MAX_MANIFEST_BYTES)
    found = f"sha256:{sha256(data).hexdigest()}"
    if digest and found != digest:
        raise OrlopError(f"manifest verification failed for digest {digest}")
    if expected is not None and expected.size != len(data):
        raise OrlopError(f"manifest verification failed for digest {digest}: size differs")
    return data, response.header("Content-Type"), found


def _head(session: Session, url: str) -> str:
    """The digest that the registry names for *url*; empty if it does not."""
    accepted = range(200, 600)
    response = session.call(
        "HEAD", url, headers={"Accept": ACCEPT}, ok=[s for s in accepted if s not in (401, 429)]
    )
    response.read_all(0)
    digest = response.header("Docker-Content-Digest")
    if response.status != 200 or not is_digest(digest) or not digest.startswith("sha256:"):
        return ""
    return check_digest(digest)


def fetch_config(session: Session, config: Descriptor) -> bytes:
    """An image's configuration, verified.

    Raises:
        OrlopError: not there, or not what it should be.
    """
    try:
        response = session.call("GET", session.url(f"/blobs/{config.digest}"))
        data = response.read_all(manifests.MAX_CONFIG_BYTES)
    except OrlopError as error:
        raise OrlopError(f"error pulling image configuration: {error}") from error
    if f"sha256:{sha256(data).hexdigest()}" != config.digest or len(data) != config.size:
        raise OrlopError(
            "error pulling image configuration: image config verification failed for digest "
            f"{config.digest}"
        )
    return data


def _write(name: str, data: bytes) -> str:
    """Put *data* into the staging directory, which is the present one; its name."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
    return name
