"""The worker that looks for releases and brings them: `worker update`, the request on descriptor 0.

It alone talks to where releases come from, and reads what came from there. It starts as root, opens
the source, certificates and the image to make a delta's from; then it goes into the directory for
downloads (descriptor 3) for good and gives up every privilege but the network. Request and answers
are JSON objects, one a line:

    {"action": "check", "source", "registries", "now", "floor", "trusted": {ROLE: TEXT}, "channel",
     "seen", "version", "again", "machine": {...}, "build", "image", "staged": VERSION,
     "staged_digest"}; "again": that version, whatever the channel has
      -> {"trusted": {ROLE: TEXT}}, also when it fails after that
      -> {"withdrawn": TEXT} if what is staged must not be applied any more
      -> {"offer": {"manifest": TEXT, "paths": {SHA256: PATH}, "sequence", "running"}}
         or {"refused": {"why", "text", "when"}}
    {"action": "fetch", "source", "registries", "base": PATH, "base_sha256",
     "blobs": [{"sha256", "size_bytes", "path", "delta": null | {"sha256", "size_bytes", "path"}}]}
      -> {"progress": {"sha256", "done", "size_bytes"}} ..., {"fetched": [...], "bytes": NUMBER}
"""

from __future__ import annotations

# Loaded by others when they need it, which is when the worker cannot load anything any more.
import datetime  # noqa: F401
import email.utils  # noqa: F401
import encodings.idna  # noqa: F401
import errno
import json
import os
import sys
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from orlop.engine.registry.job import parse_job
from orlop.engine.registry.worker import copy_network_files
from orlop.engine.sandbox import Limits, drop_privileges
from orlop.engine.worker_process import report
from orlop.lib import signatures
from orlop.lib.errors import (
    Forbidden,
    Internal,
    NotFound,
    OrlopError,
    ResourceExhausted,
    Unavailable,
)
from orlop.system.updates import delta
from orlop.system.updates.downloads import Downloads
from orlop.system.updates.sources import open_source
from orlop.wire import channel as channels
from orlop.wire import release as releases
from orlop.wire.channel import BUCKETS, Machine, Refused, Step
from orlop.wire.json_fields import format_moment
from orlop.wire.tuf.client import Client

if TYPE_CHECKING:
    from orlop.system.updates.sources import Source
    from orlop.wire.channel import Channel
    from orlop.wire.release import Release

DIRECTORY = 3
MAX_REQUEST_BYTES = 16 << 20
LIMITS = Limits(memory_bytes=1 << 30, cpu_s=4 * 3600, file_bytes=releases.MAX_ARCHIVE_BYTES)


def main(argv: list[str]) -> int:
    """One request."""
    del argv
    try:
        with open(0, "rb", closefd=False) as stream:
            request = json.loads(stream.read(MAX_REQUEST_BYTES))
        source = open_source(request["source"], parse_job(request["job"]).registries)
        signatures.load()
        base = -1
        if request["action"] == "fetch" and request.get("base"):
            base = delta.open_base(request["base"])
        _forget_network_files()
        copy_network_files()
        drop_privileges(DIRECTORY, LIMITS, network=True)
        if request["action"] == "check":
            check(request, source)
        else:
            report(Downloads(source, base, request["base_sha256"]).run(request["blobs"]))
    except OrlopError as error:
        report({"error": error.message, "hint": error.hint, "kind": type(error).__name__})
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        kind = ResourceExhausted if full else Internal
        text = f"the state partition does not take the release: {error.strerror or error}"
        report({"error": text, "kind": kind.__name__})
    except MemoryError:
        report({"error": "a release takes too much memory", "kind": ResourceExhausted.__name__})
    except Exception as error:  # noqa: BLE001 - whatever a source brought about has to be told
        report({"error": f"a worker for updates failed: {error!r}", "kind": Internal.__name__})
    sys.stdout.flush()
    return 0


def _forget_network_files() -> None:
    """Those of the last time: the network may be another one by now."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder = os.open("etc", flags, dir_fd=DIRECTORY)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        os.unlink("etc", dir_fd=DIRECTORY)
        return
    try:
        for name in os.listdir(folder):
            os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)
    os.rmdir("etc", dir_fd=DIRECTORY)


def check(request: dict[str, Any], source: Source) -> None:
    """Report what the channel has for the machine, once everything about it is verified.

    Raises:
        OrlopError: it cannot be had, or is not to be trusted.
    """
    now, floor = int(request["now"]), int(request["floor"])
    if now < floor:
        raise Unavailable(
            f"the clock says {format_moment(now)}, which is before this system was made "
            f"({format_moment(floor)}): no release can be checked until it is set"
        )
    client = Client(
        {role: text.encode() for role, text in request["trusted"].items()}, now, signatures.verify
    )
    try:
        refresh(client, source)
    finally:
        report({"trusted": {role: data.decode() for role, data in client.files.items()}})
    if request["again"]:
        release, data = _read_release(client, source, request["version"])
        machine = Machine(**request["machine"])
        report(_offer(client, release, data, request["image"], request["seen"], machine))
        return
    name = request["channel"]
    channel = channels.parse_channel(read_target(client, source, channels.target_name(name)), name)
    if channel.sequence < int(request["seen"]):
        raise Forbidden(
            f"channel {name} has sequence {channel.sequence}, this machine has seen "
            f"{request['seen']}: rollback refused"
        )
    if text := _withdrawn(request, client, source, channel):
        report({"withdrawn": text})
    report(_decide(request, client, source, channel))


def _withdrawn(request: dict[str, Any], client: Client, source: Source, channel: Channel) -> str:
    """Why what is staged, if it is of this repository, must not be applied; empty if it may be."""
    version = request["staged"]
    if not version:
        return ""
    try:
        data = read_target(client, source, releases.target_name(version))
    except NotFound:
        return ""
    if sha256(data).hexdigest() != request["staged_digest"]:
        return ""
    refused = channels.withdrawn(channel, releases.parse_release(data, version), request["now"])
    return "" if refused is None else refused.text


def refresh(client: Client, source: Source) -> None:
    """Bring the metadata of *client* up to date."""
    wanted = client.refresh()
    answer: bytes | None = None
    try:
        while True:
            asked = wanted.send(answer)
            answer = source.small(asked.path, asked.max_bytes)
    except StopIteration:
        pass


def read_target(client: Client, source: Source, name: str) -> bytes:
    """The target *name*, verified.

    Raises:
        NotFound: there is none. Forbidden: it is not what is signed. OrlopError: it cannot be had.
    """
    info, path = client.target(name)
    length = info.length or 0
    if length > releases.MAX_BYTES:
        raise Forbidden(f"{name} has more than {releases.MAX_BYTES} bytes")
    data = source.small(path, length)
    if data is None:
        raise NotFound(f"the repository lacks {path}")
    if len(data) != length or sha256(data).hexdigest() != info.sha256:
        raise Forbidden(f"{name} is not the one that is signed for")
    return data


def _decide(
    request: dict[str, Any], client: Client, source: Source, channel: Channel
) -> dict[str, Any]:
    if request["version"]:
        channel = replace(channel, release=request["version"], start=0, ramp=(Step(0, BUCKETS),))
    machine = Machine(**request["machine"])
    running = _running(request, client, source, machine)
    if running is not None:
        machine = replace(machine, sequence=running.sequence)
        if running.dead_end:
            ends = {machine.version: running.dead_end, **channel.dead_ends}
            channel = replace(channel, dead_ends=ends)
    if any(barrier.sequence > machine.sequence for barrier in channel.barriers):
        # One beyond what the channel has was set before the channel went on to it.
        top, _ = _read_release(client, source, channel.release)
        below = tuple(b for b in channel.barriers if b.sequence < top.sequence)
        channel = replace(channel, barriers=below)
    version = channels.choose(channel, machine)
    if isinstance(version, Refused):
        return _refused(version)
    release, data = _read_release(client, source, version)
    digest = sha256(data).hexdigest()
    refused = channels.judge(channel, release, digest, machine, request["now"])
    if refused is not None:
        return _refused(refused)
    return _offer(client, release, data, request["image"], channel.sequence, machine)


def _offer(
    client: Client, release: Release, data: bytes, image: str, sequence: int, machine: Machine
) -> dict[str, Any]:
    return {
        "offer": {
            "manifest": data.decode(),
            "paths": _paths(client, release, image),
            "sequence": sequence,
            "running": machine.sequence,
        }
    }


def _read_release(client: Client, source: Source, version: str) -> tuple[Release, bytes]:
    """The release *version*, and its manifest as it is signed."""
    data = read_target(client, source, releases.target_name(version))
    return releases.parse_release(data, version), data


def _running(
    request: dict[str, Any], client: Client, source: Source, machine: Machine
) -> Release | None:
    """The release that *machine* runs, if it is one of this repository: also where it was installed
    from a medium, and does not know."""
    try:
        release, _ = _read_release(client, source, machine.version)
    except NotFound:
        return None
    same = release.sequence == machine.sequence or not machine.sequence
    return release if same and release.image.build == request["build"] else None


def _paths(client: Client, release: Release, image: str) -> dict[str, str]:
    """Where the release's blobs are, and the deltas that make its image of the running *image*.

    Raises:
        NotFound, Forbidden: what it names is not signed for, or with another length.
    """
    found: dict[str, str] = {}
    deltas = [entry for entry in release.deltas if entry.source == image]
    for blob in (*release.blobs(), *deltas):
        try:
            info, path = client.target(releases.blob_name(blob.sha256))
        except NotFound:
            text = f"the files of release {release.version} are not in the repository any more"
            raise NotFound(text) from None
        if (info.sha256, info.length) != (blob.sha256, blob.size_bytes):
            raise Forbidden(
                f"release {release.version} and the repository differ about {blob.sha256}"
            )
        found[blob.sha256] = path
    return found


def _refused(refused: Refused) -> dict[str, Any]:
    return {"refused": {"why": refused.why, "text": refused.text, "when": refused.when}}


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
