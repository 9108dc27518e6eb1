"""What machines that follow channels can need of a repository: releases, and their files.

A machine behind a barrier takes the barrier's release first, so the newest release alone is not
enough for it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from orlop.image.release_maker import read_channel, releases
from orlop.image.release_repository import Repository
from orlop.lib.errors import NotFound
from orlop.wire.channel import Channel
from orlop.wire.release import Release, blob_name


def read_channels(repository: Repository, names: Iterable[str] = ()) -> dict[str, Channel]:
    """The channels *names*, all if there are none.

    Raises:
        NotFound: there is no such channel.
    """
    found: dict[str, Channel] = {}
    for name in names or repository.names("channels"):
        channel = read_channel(repository, name)
        if channel is None:
            raise NotFound(f"{repository.directory} has no channel {name}")
        found[name] = channel
    return found


def find(repository: Repository, known: Mapping[str, Release], version: str) -> Release:
    """The release *version*, whose files are there.

    Raises:
        NotFound: there is no such release, or its files were pruned.
    """
    if version not in known:
        raise NotFound(f"{repository.directory} has no release {version}")
    if not is_whole(repository, known[version]):
        raise NotFound(
            f"release {version} was pruned: {repository.directory} has its manifest alone"
        )
    return known[version]


def is_whole(repository: Repository, release: Release) -> bool:
    """Whether all that *release* consists of is there, deltas aside."""
    return all(blob_name(blob.sha256) in repository.targets for blob in release.blobs())


def way(channel: Channel, known: Mapping[str, Release], since: int = 0) -> list[str]:
    """The versions that machines of *channel* may be told to take, the first one first, if they run
    a release of the sequence *since* or newer: barriers, and what the channel has."""
    top = known[channel.release].sequence if channel.release in known else 0
    barriers = sorted((b.sequence, b.version) for b in channel.barriers)
    found = [version for sequence, version in barriers if since < sequence < top]
    return [version for version in (*found, channel.release) if version not in channel.revoked]


def select(
    repository: Repository, channels: Iterable[str] = (), version: str = "", since: str = ""
) -> tuple[list[Release], list[Path]]:
    """The releases that machines on *channels* (none: on any) can need that run release *since* or
    a newer one (empty: any), the oldest first; and all files that takes, in the order in which they
    are published. Where all is revoked there are no releases: machines are to learn that. With
    *version* that is where the way leads, whatever channels have.

    Raises:
        NotFound: there is no such release or channel, or no release at all.
    """
    known = releases(repository)
    if not known:
        raise NotFound(f"{repository.directory} has no releases yet")
    start = find_sequence(repository, known, since) if since else 0
    followed = read_channels(repository, channels)
    if version:
        find(repository, known, version)
        followed = {name: replace(c, release=version) for name, c in followed.items()}
    wanted = {step for channel in followed.values() for step in way(channel, known, start)}
    if not followed:
        newest = max(known.values(), key=lambda release: release.sequence).version
        wanted = {version or newest}
    found = sorted(
        (find(repository, known, name) for name in wanted), key=lambda release: release.sequence
    )
    too_old = {r.image.sha256 for r in known.values() if r.sequence < start}
    return found, _files(repository, found, too_old)


def find_sequence(repository: Repository, known: Mapping[str, Release], version: str) -> int:
    """Raises: NotFound: there is no such release."""
    if version not in known:
        raise NotFound(f"{repository.directory} has no release {version}")
    return known[version].sequence


def _files(repository: Repository, found: Iterable[Release], too_old: set[str]) -> list[Path]:
    """All that is signed, and the blobs of the releases *found*; deltas but from *too_old*."""
    blobs: set[str] = set()
    for release in found:
        blobs |= {blob.sha256 for blob in release.blobs()}
        blobs |= {delta.sha256 for delta in release.deltas if delta.source not in too_old}
    metadata = [
        repository.metadata / f"{repository.versions[role]}.{role}.json"
        for role in ("targets", "snapshot")
    ]
    targets = [
        repository.path_of(name)
        for name in sorted(repository.targets)
        if not name.startswith("blobs/") or name.removeprefix("blobs/") in blobs
    ]
    numbers = range(1, repository.root.version + 1)  # somebody may rotate keys meanwhile
    roots = [repository.metadata / f"{number}.root.json" for number in numbers]
    roots = [path for path in roots if path.exists()]
    return [*roots, *metadata, repository.metadata / "timestamp.json", *targets]
