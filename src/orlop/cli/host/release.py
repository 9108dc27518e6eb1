"""`./orlop release`: sign a build as a release, into a directory that any web server can serve.

./orlop release new-keys DIR                         root, targets, snapshot and timestamp keys
./orlop release --key DIR --out DIR [--channel NAME] a release of out/orlop.efi
./orlop release ls --out DIR                         releases and channels
./orlop release refresh --key DIR --out DIR          before timestamp.json ends; with two keys only
./orlop release rotate --key OLD --new-key NEW --out DIR   other keys from now on
./orlop release archive FILE --out DIR               one tar for machines without a network
./orlop release push oci://HOST/NAME:TAG --out DIR   as an artifact in a registry
./orlop release prune --key DIR --out DIR            without what no channel needs any more
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from orlop.cli.host import release_carry, release_prune
from orlop.cli.host.release_carry import write_archive
from orlop.cli.host.release_options import add_places, make_parser, parse_days
from orlop.cli.host.settings import host_settings
from orlop.image import release_keys, release_repository
from orlop.image.all_or_none import all_or_none
from orlop.image.extras import IMAGE_FILE as EXTRAS_FILE
from orlop.image.release_keys import ROOT_KEYS, ROOT_THRESHOLD
from orlop.image.release_maker import Wanted, make_release, read_channel, releases
from orlop.image.release_repository import Repository
from orlop.image.release_selection import find as find_release
from orlop.image.release_selection import is_whole
from orlop.lib import atomic_file
from orlop.lib.errors import Conflict, InvalidArgument, NotFound
from orlop.wire.channel import BUCKETS, NAME, Channel, Step, format_channel
from orlop.wire.channel import target_name as channel_target
from orlop.wire.compose_model import Json
from orlop.wire.json_fields import format_moment, parse_moment
from orlop.wire.release import Release
from orlop.wire.tuf.metadata import ROLES

ROOT_FILE = "root.json"
ENDING = "orlop: no machine takes {role}.json after {when}: {helps}"
HELPS = {
    "root": "./orlop release rotate, also with the same keys, makes a new one",
    "targets": "./orlop release refresh with the key targets.pem signs it anew",
    "snapshot": "./orlop release refresh",
    "timestamp": "./orlop release refresh",
}

PER_SERVICE = (
    ("service", "NAME=ARCHIVE", "the image of a service, in place of the system's or as another"),
    ("definition", "NAME=FILE", "a Compose file that describes it"),
    ("epoch", "NAME=N", "the format of its data, from 0"),
    ("handover", "NAME", "it is started before the old one ends"),
)


def main(argv: list[str]) -> int:
    verb = argv[0] if argv and not argv[0].startswith("-") else ""
    if verb not in VERBS:
        raise InvalidArgument(
            f"{verb!r} is nothing that can be done with releases",
            hint=f"./orlop release {'|'.join(filter(None, VERBS))}, or --help",
        )
    return VERBS[verb](argv[1:] if verb else argv) or 0


def make(argv: list[str]) -> None:
    """A release of a build."""
    parser = make_parser("", epilog=__doc__)
    add_places(parser, key=True)
    add = parser.add_argument
    add("--image", type=Path, metavar="FILE", help="unified kernel image (out/orlop.efi)")
    beside = f"for storage ({EXTRAS_FILE} beside the image, if it is there)"
    add("--extras", type=Path, metavar="FILE", help=beside)
    add("--no-extras", action="store_true", help="none, whatever is beside the image")
    add("--version", default="", help="the image's own unless given")
    add("--sequence", type=int, default=0, metavar="N", help="one above the last unless given")
    for name, value, text in PER_SERVICE:
        add(f"--{name}", action="append", default=[], metavar=value, help=text)
    minimum = "who may take it: machines whose release has at least this"
    add("--minimum-sequence", type=int, default=0, metavar="N", help=minimum)
    add("--not-after", default="", metavar="TIME", help="2027-01-31T00:00:00Z: not taken later")
    add("--dead-end", default="", metavar="REASON", help="nothing follows it")
    add("--health", type=Path, metavar="FILE", help="checks, a JSON object: docs/health.md")
    deltas = "what to make deltas from; the three newest releases unless given"
    add("--delta-from", action="append", metavar="VERSION|FILE", help=deltas)
    add("--no-delta", action="store_true", help="machines fetch it whole")
    add("--expires", default="", metavar="DAYS", help="of the metadata")
    add("--channel", default="", metavar="NAME", help="and publish it there, for all at once")
    add("--archive", type=Path, metavar="FILE", help="and as one tar")
    options = parser.parse_args(argv)
    keys = release_keys.read(*options.key)
    if options.channel:
        check_channel(options.channel)
    _check_can_begin(options.out, options.key)
    with release_repository.alone(options.out, make=True):
        repository = open_or_create(options.out, options.key)
        release_repository.check_keys(repository, keys)
        release = make_release(repository, _wanted(options))
        if options.channel:
            put_on_channel(repository, options.channel, release.version)
        release_repository.publish(repository, keys, days=parse_days(options.expires))
    describe(release)
    if options.archive:
        write_archive(repository, options.archive, release.version)


def _wanted(options: argparse.Namespace) -> Wanted:
    not_after = parse_moment(options.not_after, "--not-after") if options.not_after else 0
    health = _read_health(options.health) if options.health else {}
    pairs = {
        name: dict(_pair(word, name) for word in getattr(options, name))
        for name in ("service", "definition", "epoch")
    }
    image = options.image or host_settings().out / "orlop.efi"
    extras = options.extras
    if extras is None and (image.parent / EXTRAS_FILE).exists():
        extras = image.parent / EXTRAS_FILE
    return Wanted(
        image=image,
        extras=None if options.no_extras else extras,
        version=options.version,
        sequence=options.sequence,
        services={name: Path(path) for name, path in pairs["service"].items()},
        definitions={name: Path(path) for name, path in pairs["definition"].items()},
        epochs={name: _epoch(name, number) for name, number in pairs["epoch"].items()},
        handover=frozenset(options.handover),
        minimum_sequence=options.minimum_sequence,
        not_after=not_after,
        dead_end=options.dead_end,
        health=health,
        delta_from=[] if options.no_delta else options.delta_from,
    )


def _read_health(path: Path) -> dict[str, Json]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidArgument(f"{path}: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgument(f"{path}: a JSON object expected")
    return found


def _epoch(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise InvalidArgument(f"--epoch {name}={text}: a number from 0 expected")
    return int(text)


def _pair(word: str, option: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals or not name or not value:
        raise InvalidArgument(f"--{option} takes NAME=..., not {word!r}")
    return name, value


def describe(release: Release) -> None:
    """What was made, for people."""
    image = release.image
    print(f"release {release.version}, sequence {release.sequence}, build {image.build}")
    print(f"  image    {image.size_bytes:>12,} bytes  {image.sha256}")
    if release.extras is not None:
        print(f"  extras   {release.extras.size_bytes:>12,} bytes  {release.extras.sha256}")
    for delta in release.deltas:
        share = 100 * delta.size_bytes / image.size_bytes
        print(f"  delta    {delta.size_bytes:>12,} bytes  {share:.1f} %, from {delta.source[:16]}")
    for name, service in release.services.items():
        size = service.archive.size_bytes if service.archive else 0
        print(f"  {name:<8} {size:>12,} bytes  {service.digest}")


def new_keys(argv: list[str]) -> None:
    """Keys, and the root of trust that names them."""
    parser = make_parser("new-keys")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--roots", type=int, default=ROOT_KEYS, help="how many root keys")
    parser.add_argument("--threshold", type=int, default=ROOT_THRESHOLD, help="how many must sign")
    options = parser.parse_args(argv)
    if not 1 <= options.threshold <= options.roots <= 16:
        raise InvalidArgument(f"{options.threshold} of {options.roots} root keys cannot be")
    options.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with all_or_none(options.directory):
        keys = release_keys.make(options.directory, options.roots)
        public = {role: keys.public(role) for role in ROLES}
        root = release_repository.make_root(1, public, options.threshold, keys.of("root"))
        atomic_file.write_bytes(options.directory / ROOT_FILE, root)
    print(f"{options.directory / ROOT_FILE} is what machines trust: ./orlop build --trust, or")
    print("orlop os trust ROOT.json on a machine. Now move root-*.pem to where no network is,")
    print(f"each elsewhere: {options.threshold} of them are needed, to change keys only.")


def show(argv: list[str]) -> None:
    """Releases and channels."""
    parser = make_parser("ls")
    add_places(parser)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    repository = release_repository.open_repository(options.out)
    found = sorted(releases(repository).values(), key=lambda release: release.sequence)
    channels = {name: read_channel(repository, name) for name in repository.names("channels")}
    if options.json:
        rows = [
            {"version": r.version, "sequence": r.sequence, "whole": is_whole(repository, r)}
            for r in found
        ]
        names = {name: channel.release for name, channel in channels.items() if channel}
        print(json.dumps({"releases": rows, "channels": names}, indent=1))
        return
    for release in found:
        if is_whole(repository, release):
            describe(release)
        else:
            print(f"release {release.version}, sequence {release.sequence}, was pruned")
    for name, channel in channels.items():
        if channel is not None:
            print(f"channel {name}: {channel.release}{describe_ramp(channel)}")
    _print_endings(repository)


def describe_ramp(channel: Channel) -> str:
    """When who may take it; empty if everybody may since the beginning."""
    if channel.ramp == (Step(0, BUCKETS),):
        return ""
    steps = [f"{step.after_s / 3600:g}h={step.buckets / 100:g}%" for step in channel.ramp]
    return f", from {format_moment(channel.start)}: {', '.join(steps)}"


def refresh(argv: list[str]) -> None:
    """The same once more, with a later end."""
    parser = make_parser("refresh")
    add_places(parser, key=True)
    parser.add_argument("--expires", default="", metavar="DAYS")
    options = parser.parse_args(argv)
    with release_repository.alone(options.out):
        repository = _refresh(options)
    print(f"{options.out}: timestamp {repository.versions['timestamp']}")
    _print_endings(repository)


def _refresh(options: argparse.Namespace) -> Repository:
    repository = release_repository.open_repository(options.out)
    keys = release_keys.read(*options.key)
    only = [role for role in ("targets", "snapshot", "timestamp") if keys.private.get(role)]
    only += {"snapshot", "timestamp"} - {*only}  # which are needed
    release_repository.publish(repository, keys, days=parse_days(options.expires), only=only)
    return repository


def _print_endings(repository: Repository) -> None:
    """What machines will not take for much longer, and what helps."""
    for role, expires in release_repository.ending(repository).items():
        text = ENDING.format(role=role, when=format_moment(expires), helps=HELPS[role])
        print(text, file=sys.stderr)


def rotate(argv: list[str]) -> None:
    """Other keys, signed for by the old root keys and by the new ones."""
    parser = make_parser("rotate")
    add_places(parser, key=True)
    parser.add_argument("--new-key", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--threshold", type=int, default=0, help="of the new root keys")
    options = parser.parse_args(argv)
    with release_repository.alone(options.out):
        _rotate(options)


def _rotate(options: argparse.Namespace) -> None:
    repository = release_repository.open_repository(options.out)
    old, new = release_keys.read(*options.key), release_keys.read(*options.new_key)
    public = {role: new.public(role) for role in ROLES}
    threshold = options.threshold or min(
        repository.root.roles["root"].threshold, len(public["root"])
    )
    signers = [*old.of("root"), *new.of("root")]
    number = repository.root.version + 1
    root = release_repository.make_root(number, public, threshold, signers)
    release_repository.rotate(repository, root, new)
    atomic_file.write_bytes(options.new_key[0] / ROOT_FILE, root)
    print(f"root {number} is published; {options.new_key[0] / ROOT_FILE} is for new machines")


def _check_can_begin(directory: Path, keys: Sequence[Path]) -> None:
    """Raises: NotFound: there is no repository, and nothing to begin one with."""
    if not (directory / "metadata").is_dir() and not any((k / ROOT_FILE).exists() for k in keys):
        raise NotFound(
            f"{directory} is no repository, and {keys[0]} has no {ROOT_FILE} to begin one with",
            hint="./orlop release new-keys DIR",
        )


def open_or_create(directory: Path, keys: Sequence[Path]) -> Repository:
    """The repository in *directory*; a new one begins with the root that lies beside the keys.

    Raises:
        NotFound: there is neither.
    """
    try:
        return release_repository.open_repository(directory)
    except NotFound:
        _check_can_begin(directory, keys)
        roots = (place / ROOT_FILE for place in keys)
        root = next(path for path in roots if path.exists())
        return release_repository.create(directory, root.read_bytes())


def check_channel(name: str) -> None:
    """Raises: InvalidArgument: no channel can be called so."""
    if NAME.fullmatch(name) is None:
        raise InvalidArgument(
            f"{name!r} cannot be the name of a channel: small letters, digits, - and _ expected"
        )


def put_on_channel(
    repository: Repository, name: str, version: str, ramp: Sequence[Step] = (), start: int = 0
) -> Channel:
    """Let *version* be what the channel *name* has.

    Raises:
        NotFound: there is no such release, or not any more. Conflict: it is revoked there.
        InvalidArgument: as `check_channel`.
    """
    check_channel(name)
    find_release(repository, releases(repository), version)
    before = read_channel(repository, name)
    if before is not None and version in before.revoked:
        raise Conflict(f"release {version} is revoked on channel {name}")
    # One of that name may have been there: no machine takes a lower sequence than it has seen.
    first = repository.versions.get("targets", 0)
    base = before or Channel(sequence=first, release=version, dead_ends={}, revoked={})
    channel = replace(
        base,
        sequence=base.sequence + 1,
        release=version,
        start=start or int(time.time()),
        ramp=tuple(ramp) or (Step(0, BUCKETS),),
    )
    repository.add(channel_target(name), format_channel(channel))
    return channel


VERBS: dict[str, Callable[[list[str]], int | None]] = {
    "": make,
    "new-keys": new_keys,
    "ls": show,
    "refresh": refresh,
    "rotate": rotate,
    "archive": release_carry.archive,
    "push": release_carry.push,
    "prune": release_prune.prune,
}
