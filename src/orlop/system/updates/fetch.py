"""Releases as PID 1 sees them: asks the worker what there is for this machine, and to bring it.

What comes from outside is read by the worker alone (`fetch_worker`). Here is what lasts: the
metadata that was last trusted, in `trust/`, and the downloads, in `incoming/`, below `DIRECTORY`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orlop.engine.registry import job as jobs
from orlop.engine.registry.settings import Registries
from orlop.engine.worker_process import start_worker
from orlop.lib import atomic_file
from orlop.lib.errors import Internal, Unavailable
from orlop.wire.channel import Machine, Refused, Why
from orlop.wire.release import Release, parse_release

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Container

    from orlop.lib.children import Children
    from orlop.wire.release import Blob

    type Report = Callable[[Progress], None]

log = logging.getLogger(__name__)

DIRECTORY = Path("/var/lib/orlop/os")
BUILT_IN_ROOT = Path("/usr/lib/orlop/trust/root.json")
RELEASE_FILE = Path("/usr/lib/orlop/release.json")
INCOMING = "incoming"
LOOKING = "looking"
"""Where the worker is while it only looks: one that fetches must not lose its files by that."""
GIVEN_ROOT = "given.json"
"""In `trust/`: the root that the machine's administrator has chosen (`orlop os trust`)."""

ROLES = ("root", "timestamp", "snapshot", "targets")
MAX_METADATA_BYTES = 2 << 20
CHECK_TIMEOUT_S = 300.0
FETCH_TIMEOUT_S = 24 * 3600.0
SILENT_S = 1800.0
"""A fetch that has nothing to say for so long is one from a server that says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What runs now. *version* and *build* are those of release.json; *sequence* that of the
    release, 0 if it is not known; *image* the file with the unified kernel image and *image_sha256*
    its digest, empty if there is none."""

    version: str
    build: str
    sequence: int = 0
    image: str = ""
    image_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where to look, and for what. *source* is a URL, `oci://...`, or the path of a directory or an
    archive; *root* the text of the root of trust, empty for the machine's own; *version* a release
    to take instead of the channel's; *wariness* the place in ramps, of 10,000, None by chance;
    *staged* and *staged_digest* the release that is staged."""

    source: str
    running: Running
    identity: str
    channel: str = "stable"
    root: str = ""
    version: str = ""
    wariness: int | None = None
    allow_downgrade: bool = False
    staged: str = ""
    staged_digest: str = ""
    registries: Registries = Registries()  # noqa: RUF009 - frozen
    directory: Path = DIRECTORY


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A release for this machine. *manifest* are the bytes that were signed, *digest* their
    SHA-256; *paths* is where the source has what; *sequence* is the channel's, *running* that of
    the release that runs, 0 if it is none."""

    release: Release
    manifest: bytes
    digest: str
    sequence: int
    running: int
    paths: dict[str, str]
    settings: Settings


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one blob."""

    sha256: str
    done: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """*files* are whole, by digest; *received_bytes* came over the line."""

    files: dict[str, Path] = field(default_factory=dict)
    received_bytes: int = 0


async def find(settings: Settings, children: Children) -> Offer:
    """The release *settings.version*, verified, whatever its channel has; as `check`.

    Raises:
        NotFound: the source has no such release, or not any more. OrlopError: as `check`.
    """
    found = await check(settings, children, again=True)
    assert isinstance(found, Offer)
    return found


async def check(
    settings: Settings,
    children: Children,
    withdrawn: Callable[[str], None] = lambda _: None,
    *,
    again: bool = False,
) -> Offer | Refused:
    """What the channel has for this machine, verified; or why it takes nothing now. *withdrawn* is
    told why what is staged must not be applied any more. One at a time: what an older look trusts
    must not be written over a newer one's.

    Raises:
        Unavailable: the source cannot be reached, or the clock is wrong. Forbidden: what it has is
            not to be trusted. NotFound: there is no such channel. InvalidArgument: a bad source.
    """
    trust = settings.directory / "trust"
    trusted, base, seen = await asyncio.to_thread(_read_trust, trust, settings)
    request = {
        "action": "check",
        "now": int(time.time()),
        "floor": await asyncio.to_thread(built_at),
        "trusted": trusted,
        "channel": settings.channel,
        "seen": seen.get(settings.channel, 0),
        "version": settings.version,
        "again": again,
        "machine": asdict(_machine(settings)),
        "build": settings.running.build,
        "image": settings.running.image_sha256,
        "staged": settings.staged,
        "staged_digest": settings.staged_digest,
    }
    answer: dict[str, Any] = {}
    async for message in _ask(settings, LOOKING, children, request, CHECK_TIMEOUT_S):
        if "trusted" in message:
            await asyncio.to_thread(_write_trust, trust, base, message["trusted"])
        elif "withdrawn" in message:
            withdrawn(str(message["withdrawn"]))
        else:
            answer = message
    if "refused" in answer:
        refused = answer["refused"]
        return Refused(Why(refused["why"]), str(refused["text"]), int(refused["when"]))
    if "offer" not in answer:
        raise Internal("the update worker gave no answer")
    offer = answer["offer"]
    seen[settings.channel] = int(offer["sequence"])
    await asyncio.to_thread(_write, trust / "seen.json", json.dumps(seen))
    return _offer(settings, offer)


async def fetch(
    offer: Offer,
    children: Children,
    report: Report,
    *,
    extras: bool = False,
    only: Container[str] | None = None,
) -> Fetched:
    """Bring what *offer* names into `incoming/`, where each file is called by its digest; *report*
    is told how far it is. A cut download goes on where it was. *extras*: those of storage too;
    *only*: these digests.

    Raises:
        Unavailable: the source cannot be reached. Forbidden: what it has is something else.
        ResourceExhausted: there is no room.
    """
    settings, release = offer.settings, offer.release
    running = settings.running
    wanted = [
        blob
        for blob in {blob.sha256: blob for blob in release.blobs()}.values()
        if blob.sha256 != running.image_sha256
        and (extras or blob is not release.extras)
        and (only is None or blob.sha256 in only)
    ]
    request = {
        "action": "fetch",
        "base": running.image,
        "base_sha256": running.image_sha256,
        "blobs": [_blob(offer, blob) for blob in wanted],
    }
    received = -1
    asking = _ask(settings, INCOMING, children, request, FETCH_TIMEOUT_S)
    async for message in _each_within(asking, SILENT_S):
        if "progress" in message:
            report(Progress(**message["progress"]))
        elif "notice" in message:
            log.warning("release %s: %s", release.version, message["notice"])
        else:
            received = int(message["bytes"])
    if received < 0:
        raise Internal("the update worker gave no answer")
    incoming = settings.directory / INCOMING
    return Fetched({blob.sha256: incoming / blob.sha256 for blob in wanted}, received)


def built_at() -> int:
    """When the running system was made, in seconds since 1970: a clock before that is wrong."""
    try:
        return int(json.loads(RELEASE_FILE.read_bytes()).get("date", 0))
    except (OSError, ValueError):
        return 0


def _machine(settings: Settings) -> Machine:
    running = settings.running
    return Machine(
        settings.identity,
        running.version,
        running.sequence,
        settings.wariness,
        settings.allow_downgrade,
    )


def _offer(settings: Settings, offer: dict[str, Any]) -> Offer:
    from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]

    manifest = str(offer["manifest"]).encode()
    version = str(json.loads(manifest)["version"])
    return Offer(
        release=parse_release(manifest, version),
        manifest=manifest,
        digest=sha256(manifest).hexdigest(),
        sequence=int(offer["sequence"]),
        running=int(offer["running"]),
        paths={str(name): str(path) for name, path in offer["paths"].items()},
        settings=settings,
    )


def _blob(offer: Offer, blob: Blob) -> dict[str, Any]:
    entry = _located(offer, blob)
    if blob.sha256 == offer.release.image.sha256:
        source = offer.settings.running.image_sha256
        found = next((d for d in offer.release.deltas if d.source == source), None)
        if found is not None and found.sha256 in offer.paths:
            entry["delta"] = _located(offer, found)
    return entry


def _located(offer: Offer, blob: Blob) -> dict[str, Any]:
    return {
        "sha256": blob.sha256,
        "size_bytes": blob.size_bytes,
        "path": offer.paths[blob.sha256],
    }


async def _ask(
    settings: Settings, folder: str, children: Children, request: dict[str, Any], timeout_s: float
) -> AsyncGenerator[dict[str, Any]]:
    job = jobs.to_json(jobs.Job(action="update", registries=settings.registries))
    text = json.dumps({**request, "source": settings.source, "job": job})
    async with (
        _opened(settings.directory / folder) as directory,
        _memory(text.encode()) as asked,
        start_worker(
            children, "update", fds={0: asked, 3: directory}, timeout_s=timeout_s
        ) as worker,
    ):
        async for message in worker.messages():
            yield message


async def _each_within[T](messages: AsyncGenerator[T], limit_s: float) -> AsyncIterator[T]:
    """*messages*, none of which comes later than *limit_s* after the one before.

    Raises:
        Unavailable: one does; whoever makes them is ended.
    """
    async with aclosing(messages):
        while True:
            try:
                async with asyncio.timeout(limit_s):
                    message = await anext(messages)
            except StopAsyncIteration:
                return
            except TimeoutError:
                text = f"nothing has come from the source for {limit_s / 60:.0f} minutes"
                raise Unavailable(text) from None
            yield message


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[int]:
    def work() -> int:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    try:
        descriptor = await asyncio.to_thread(work)
    except OSError as error:
        raise Unavailable(f"{path}: no place for releases: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _memory(data: bytes) -> AsyncIterator[int]:
    descriptor = os.memfd_create("update", os.MFD_CLOEXEC)
    try:
        os.pwrite(descriptor, data, 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _read_trust(trust: Path, settings: Settings) -> tuple[dict[str, str], str, dict[str, int]]:
    """What is trusted by role, the digest of the root that all began with, and what was seen.

    With another root than before the machine begins with that one; what was signed by keys that
    still count goes on counting.

    Raises:
        Unavailable: there is no root.
    """
    from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]

    root = settings.root or _first(trust / GIVEN_ROOT, BUILT_IN_ROOT)
    if not root:
        raise Unavailable(
            "this machine trusts nobody's releases yet: it has no root of trust",
            hint="orlop os trust ROOT.json, or the key orlop.update.root",
        )
    base = sha256(root.encode()).hexdigest()
    found = {role: text for role in ROLES if (text := _first(trust / f"{role}.json"))}
    if _first(trust / "base") != base or "root" not in found:
        found["root"] = root
    if _first(trust / "base") != base:
        return found, base, {}  # other people's channels, which count anew
    try:
        seen = {str(k): int(v) for k, v in json.loads(_first(trust / "seen.json") or "{}").items()}
    except (ValueError, TypeError, AttributeError):
        seen = {}
    return found, base, seen


def _first(*paths: Path) -> str:
    """The text of the first of *paths* that is there; empty if none is."""
    for path in paths:
        try:
            with path.open("rb") as stream:
                return stream.read(MAX_METADATA_BYTES + 1).decode()
        except (OSError, UnicodeDecodeError):
            continue
    return ""


def _write_trust(trust: Path, base: str, trusted: dict[str, str]) -> None:
    """Keep what is trusted now. Root first: the others are signed by whom it names."""
    for role in ROLES:
        path = trust / f"{role}.json"
        if role not in trusted:
            path.unlink(missing_ok=True)
        elif _first(path) != trusted[role]:
            _write(path, trusted[role])
    if _first(trust / "base") != base:
        _write(trust / "base", base)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _first(path) != text:
        atomic_file.write_text(path, text, mode=0o600)
