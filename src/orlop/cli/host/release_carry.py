"""`./orlop release archive` and `push`: a repository, or a part of it, to where machines take it.

Both carry all that is signed, and the files of every release that machines on the channels can need
on their way, so that nothing but this is needed behind a barrier too.
"""

import argparse
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from orlop.cli.host import release_push
from orlop.cli.host.release_options import add_places, make_parser
from orlop.image import release_repository
from orlop.image.release_repository import Repository
from orlop.image.release_selection import select
from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument
from orlop.wire.release import Release

TIMESTAMP = "timestamp.json"
"""Somebody may publish meanwhile: what is carried is the one that all else was chosen by."""


def archive(argv: list[str]) -> None:
    """One tar with all that machines on the channels need."""
    parser = make_parser("archive")
    add_places(parser)
    _add_choice(parser)
    parser.add_argument("file", type=Path)
    options = parser.parse_args(argv)
    repository = release_repository.open_repository(options.out)
    write_archive(
        repository, options.file, options.version, channels=options.channel, since=options.since
    )


def write_archive(
    repository: Repository,
    target: Path,
    version: str = "",
    *,
    channels: Iterable[str] = (),
    since: str = "",
) -> None:
    """The tar *target*; what is in it says `release_selection.select`.

    Raises:
        NotFound: there is no such release or channel.
    """
    releases, members = select(repository, channels, version, since)
    if target.is_dir():
        raise InvalidArgument(f"{target} is a directory: the name of a file is expected")
    with (
        atomic_file.replacing(target) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as stream,
    ):
        for path in members:
            member = _plain(stream.gettarinfo(path, str(path.relative_to(repository.directory))))
            if path.name == TIMESTAMP:
                member.size = len(repository.timestamp)
                stream.addfile(member, io.BytesIO(repository.timestamp))
                continue
            with path.open("rb") as content:
                stream.addfile(member, content)
    print(f"{target}: {target.stat().st_size:,} bytes, {_contents(members, releases)}")


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what is of this machine and moment."""
    return member.replace(uid=0, gid=0, uname="", gname="", mtime=0, mode=0o644, deep=False)


def push(argv: list[str]) -> None:
    """As an artifact into a registry."""
    parser = make_parser("push")
    add_places(parser)
    _add_choice(parser)
    parser.add_argument("reference", help="oci://HOST/NAME:TAG")
    parser.add_argument("--insecure", action="store_true", help="without TLS, or unchecked")
    options = parser.parse_args(argv)
    repository = release_repository.open_repository(options.out)
    releases, files = select(repository, options.channel, options.version, options.since)
    named = {str(path.relative_to(options.out)): path for path in files}
    with TemporaryDirectory() as scratch:
        timestamp = Path(scratch) / TIMESTAMP
        timestamp.write_bytes(repository.timestamp)
        named[str((repository.metadata / TIMESTAMP).relative_to(options.out))] = timestamp
        digest = release_push.push(options.reference, named, insecure=options.insecure)
    print(f"{options.reference}: {digest}, {_contents(files, releases)}")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--channel",
        action="append",
        default=[],
        metavar="NAME",
        help="for machines on this one, may be given again; all channels otherwise",
    )
    parser.add_argument(
        "--from",
        dest="since",
        default="",
        metavar="VERSION",
        help="the oldest release that these machines run; any otherwise",
    )
    parser.add_argument(
        "--version", default="", help="this release instead of the channels', and the way to it"
    )


def _contents(files: list[Path], releases: list[Release]) -> str:
    names = ", ".join(release.version for release in releases)
    what = f"release {names}" if names else "metadata alone, as what channels have is revoked"
    return f"{len(files)} files: {what}"
