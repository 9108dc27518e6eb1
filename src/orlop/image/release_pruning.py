"""What no machine can need any more of a repository, and removing it.

Two steps, so that no machine is in the middle of something that goes away. A release that nothing
needs leaves the metadata first. Its files are deleted when no metadata that was current within the
grace has them: what is found out anew each time from the metadata that lies there, and from when it
was written. So an interruption leaves nothing to mend, and the next time goes on.
"""

import contextlib
import itertools
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orlop.image.release_maker import KEPT_RELEASES, releases
from orlop.image.release_repository import DAY_S, Repository
from orlop.image.release_selection import read_channels
from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument
from orlop.wire.channel import Channel
from orlop.wire.release import Release, blob_name, target_name
from orlop.wire.tuf.metadata import parse_listing

GRACE_DAYS = 7
"""A fetch may take a day, and copies of a repository are made less often than it changes."""

_VERSION = re.compile(r"(\d{1,15})\.")
_TARGET = re.compile(r"[0-9a-f]{64}\..+")
FOLDERS = ("releases", "channels", "blobs")
"""Of targets."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is kept of a release: *whole*, or only its *manifest*, or neither; and *why*."""

    release: Release
    whole: bool
    manifest: bool
    why: str

    def names(self) -> set[str]:
        """The targets that the release consists of."""
        blobs = (*self.release.blobs(), *self.release.deltas)
        return {target_name(self.release.version), *(blob_name(b.sha256) for b in blobs)}


def judge(
    known: Mapping[str, Release], channels: Mapping[str, Channel], keep: int = KEPT_RELEASES
) -> list[Verdict]:
    """What is needed of each of the releases *known*, the oldest first. The *keep* newest are, as
    the next ones will have deltas from them."""
    ordered = sorted(known.values(), key=lambda release: release.sequence)
    newest = {release.version for release in ordered[len(ordered) - min(keep, len(ordered)) :]}
    had = [known[c.release].sequence for c in channels.values() if c.release in known]
    found: list[Verdict] = []
    whole: list[Release] = []
    for release in ordered:
        why = _needed_whole(release, channels, max(had, default=0))
        if not why and release.version in newest:
            why = f"one of the {keep} newest"
        if why:
            whole.append(release)
        found.append(Verdict(release, whole=bool(why), manifest=bool(why), why=why))
    asked = [barrier.sequence for channel in channels.values() for barrier in channel.barriers]
    asked += [release.minimum_sequence for release in whole]
    limit = max(asked, default=0)
    return [
        one if one.whole else _judge_manifest(one.release, channels, limit, min(had, default=0))
        for one in found
    ]


def _needed_whole(release: Release, channels: Mapping[str, Channel], newest: int) -> str:
    version = release.version
    revoked = [name for name, channel in channels.items() if version in channel.revoked]
    for name, channel in channels.items():
        if name in revoked:
            continue
        if channel.release == version:
            return f"what channel {name} has"
        if any(barrier.version == version for barrier in channel.barriers):
            return f"a barrier of channel {name}"
        if version in channel.dead_ends:
            return f"a dead end of channel {name}"
    if release.dead_end and not revoked:
        return "a dead end"
    # Made, and not put on a channel yet.
    return "newer than what any channel has" if release.sequence > newest and not revoked else ""


def _judge_manifest(
    release: Release, channels: Mapping[str, Channel], asked: int, lowest: int
) -> Verdict:
    """Machines learn from the manifest of what they run, or have staged, where it stands."""
    revoked = next((name for name, c in channels.items() if release.version in c.revoked), "")
    if revoked:
        why = f"revoked on channel {revoked}"
    elif release.not_after:
        why = "has an end, which who has it staged must know"
    elif release.sequence < asked:
        why = "who runs it has a barrier ahead"
    elif release.sequence > lowest:
        why = "newer than what one of the channels has"
    else:
        why = ""
    return Verdict(release, whole=False, manifest=bool(why), why=why)


def plan(repository: Repository, keep: int = KEPT_RELEASES) -> tuple[list[Verdict], set[str]]:
    """What is kept of each release, and the targets that are to go."""
    known, channels = releases(repository), read_channels(repository)
    if not channels:
        return [
            Verdict(r, whole=True, manifest=True, why="no channel") for r in known.values()
        ], set()
    verdicts = judge(known, channels, keep)
    needed: set[str] = set()
    for one in verdicts:
        if one.whole:
            needed |= one.names()
        elif one.manifest:
            needed.add(target_name(one.release.version))
    of_releases = (name for name in repository.targets if not name.startswith("channels/"))
    return verdicts, {name for name in of_releases if name not in needed}


@dataclass(frozen=True, slots=True)
class Rubbish:
    """Files that nothing needs, with their sizes: *old* ones, and *young* ones, which are old in
    the second *until* since 1970."""

    old: Mapping[Path, int]
    young: Mapping[Path, int]
    until: float

    def delete(self) -> None:
        """Delete what is old, metadata first: what names a file goes before it."""
        for path in sorted(self.old, key=lambda path: path.parent.name != "metadata"):
            path.unlink(missing_ok=True)


def find_rubbish(
    repository: Repository,
    grace_days: int = GRACE_DAYS,
    leaving: Iterable[str] = (),
    now: float | None = None,
) -> Rubbish:
    """What lies in *repository* and is of no use, if the targets *leaving* left it now; nobody may
    change it meanwhile."""
    moment, grace_s = time.time() if now is None else now, grace_days * DAY_S
    ends = _ends(repository) | {repository.path_of(name): moment for name in leaving}
    old = {path for path, at in ends.items() if at + grace_s <= moment}
    young = {path: path.stat().st_size for path in ends.keys() - old}
    folders = [repository.metadata, *(repository.directory / "targets" / f for f in FOLDERS)]
    for folder in folders:
        old |= {*folder.glob(f"{atomic_file.TEMPORARY_PREFIX}*")}  # of who was interrupted
    until = max((ends[path] + grace_s for path in young), default=0)
    return Rubbish({path: path.stat().st_size for path in old}, young, until)


def _ends(repository: Repository) -> dict[Path, float]:
    """Since when nothing needs what lies there: for files that were published, since they are in
    the newest metadata no more; for others, since they were written."""
    needed = {repository.path_of(name) for name in repository.targets}
    ends = dict(_superseded(repository, "snapshot"))
    named: dict[Path, float] = {}
    for path, at in _superseded(repository, "targets"):
        ends[path] = at
        with contextlib.suppress(InvalidArgument):  # a damaged one is of use to nobody
            files = parse_listing(path.read_bytes(), "targets").signed.files
            named |= {repository.file_of(name, info.sha256): at for name, info in files.items()}
    for folder in FOLDERS:
        for path in (repository.directory / "targets" / folder).glob("*"):
            if _TARGET.fullmatch(path.name) and path.is_file() and path not in needed:
                ends[path] = named.get(path) or path.stat().st_mtime
    return ends


def _superseded(repository: Repository, role: str) -> Iterator[tuple[Path, float]]:
    """Old metadata of *role*, the oldest first, and when the next version came."""
    newest = repository.versions[role]
    found = {
        int(match[1]): path
        for path in repository.metadata.glob(f"*.{role}.json")
        if (match := _VERSION.match(path.name)) and int(match[1]) <= newest
    }
    for number, after in itertools.pairwise(sorted(found)):
        yield found[number], found[after].stat().st_mtime
