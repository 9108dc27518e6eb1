"""`./orlop channel`: which release machines take, by when, and which they never do.

./orlop channel set NAME --release V [--ramp 0h=1%,24h=50%,72h=100%] [--start TIME]
./orlop channel revoke NAME VERSION [--reason TEXT]     nobody takes it; who has it leaves it
./orlop channel barrier NAME VERSION                    older machines run it before newer ones
./orlop channel dead-end NAME VERSION [--reason TEXT]   machines that run it stay with it
./orlop channel revoke|barrier|dead-end NAME VERSION --remove   that was a mistake
./orlop channel rm NAME                 nobody follows it: `release prune` keeps nothing for it
./orlop channel show NAME

All take --key DIR (targets, snapshot and timestamp keys) and --out DIR (the repository).
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from orlop.cli.host.release import check_channel, describe_ramp, put_on_channel
from orlop.cli.host.release_options import parse_days
from orlop.image import release_keys, release_repository
from orlop.image.release_maker import read_channel, releases
from orlop.image.release_repository import Repository
from orlop.image.release_selection import find
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.wire.channel import REASON, Barrier, Channel, format_channel, parse_channel, parse_ramp
from orlop.wire.channel import target_name as channel_target
from orlop.wire.json_fields import parse_moment


def main(argv: list[str]) -> int:
    options = _parse(argv)
    name: str = options.name
    check_channel(name)
    with release_repository.alone(options.out):
        repository = release_repository.open_repository(options.out)
        if options.verb != "show":
            keys = release_keys.read(*options.key)
            release_repository.check_keys(repository, keys)
            if options.verb == "rm":
                _channel(repository, name)
                del repository.targets[channel_target(name)]
            else:
                change(repository, options)
                # What a machine would refuse is not published.
                parse_channel(repository.read(channel_target(name)), name)
            release_repository.publish(repository, keys, days=parse_days(options.expires))
    if options.verb == "rm":
        print(f"channel {name} is gone: a machine that still follows it takes nothing")
        return 0
    channel = _channel(repository, name)
    if options.json:
        print(json.dumps(json.loads(format_channel(channel)), indent=1))
    else:
        show(name, channel)
    return 0


def change(repository: Repository, options: argparse.Namespace) -> None:
    """Do what is asked to the channel.

    Raises:
        NotFound: there is no such channel, or release.
    """
    name = options.name
    if options.verb == "set":
        start = parse_moment(options.start, "--start") if options.start else int(time.time())
        ramp = parse_ramp(options.ramp) if options.ramp else ()
        put_on_channel(repository, name, options.release, ramp, start)
        return
    channel, version = _channel(repository, name), options.version
    if REASON.fullmatch(getattr(options, "reason", "")) is None:
        raise InvalidArgument("--reason: up to 200 printable characters of ASCII expected")
    known = releases(repository)
    if version not in known:
        raise NotFound(f"{repository.directory} has no release {version}")
    others = tuple(other for other in channel.barriers if other.version != version)
    match options.verb:
        case "revoke":
            reasons = _with(channel.revoked, version, options)
            channel = replace(channel, revoked=reasons)
        case "dead-end":
            reasons = _with(channel.dead_ends, version, options)
            channel = replace(channel, dead_ends=reasons)
        case _ if options.remove:
            if others == channel.barriers:
                raise NotFound(f"release {version} is no barrier of channel {name}")
            channel = replace(channel, barriers=others)
        case _:
            find(repository, known, version)
            barrier = Barrier(version, known[version].sequence)
            channel = replace(channel, barriers=(*others, barrier))
    _warn(channel)
    channel = replace(channel, sequence=channel.sequence + 1)
    repository.add(channel_target(name), format_channel(channel))


def _with(reasons: Mapping[str, str], version: str, options: argparse.Namespace) -> dict[str, str]:
    """*reasons* with *version*, or without it if that is asked for.

    Raises:
        NotFound: it is not there to be removed.
    """
    if not options.remove:
        return {**reasons, version: options.reason}
    if version not in reasons:
        raise NotFound(f"channel {options.name} says nothing of the kind of release {version}")
    return {other: reason for other, reason in reasons.items() if other != version}


def _warn(channel: Channel) -> None:
    for version in (b.version for b in channel.barriers if b.version in channel.revoked):
        text = f"{version} is a barrier and revoked: who is before it takes nothing until"
        print(f"orlop: {text} `channel barrier ... --remove`", file=sys.stderr)


def show(name: str, channel: Channel) -> None:
    """The channel, for people."""
    print(f"channel {name}, sequence {channel.sequence}: {channel.release}{describe_ramp(channel)}")
    for barrier in channel.barriers:
        print(f"  barrier  {barrier.version} (sequence {barrier.sequence})")
    for version, reason in channel.dead_ends.items():
        print(f"  dead end {version} {reason}".rstrip())
    for version, reason in channel.revoked.items():
        print(f"  revoked  {version} {reason}".rstrip())


def _channel(repository: Repository, name: str) -> Channel:
    channel = read_channel(repository, name)
    if channel is None:
        raise NotFound(
            f"{repository.directory} has no channel {name}",
            hint=f"./orlop channel set {name} --release VERSION",
        )
    return channel


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./orlop channel",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (
        ("set", "what the channel has"),
        ("revoke", "take a release back"),
        ("barrier", "one that nobody leaves out"),
        ("dead-end", "one that nothing follows"),
        ("rm", "nobody follows it any more"),
        ("show", "what it says now"),
    ):
        below = verbs.add_parser(verb, help=text)
        below.add_argument("name")
        below.add_argument("--out", type=Path, required=True, metavar="DIR", help="the repository")
        if verb != "rm":
            below.add_argument("--json", action="store_true", help="what the channel says then")
        if verb != "show":
            below.add_argument(
                "--key", type=Path, action="append", required=True, metavar="DIR", help="keys"
            )
            below.add_argument("--expires", default="", metavar="DAYS", help="of the metadata")
        if verb == "set":
            below.add_argument("--release", required=True, metavar="VERSION", help="which")
            ramp, time_ = "share of the machines by hours; all at once", "now unless given"
            below.add_argument("--ramp", default="", metavar="0h=1%,24h=50%", help=ramp)
            below.add_argument("--start", default="", metavar="TIME", help=time_)
        elif verb not in ("show", "rm"):
            below.add_argument("version")
            below.add_argument("--remove", action="store_true", help="take that back")
        if verb in ("revoke", "dead-end"):
            below.add_argument("--reason", default="", metavar="TEXT", help="what people are told")
    return parser.parse_args(argv)
