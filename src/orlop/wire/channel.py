"""Channels: which release a machine takes next, computed on the machine from signed files alone.

A channel is the TUF target `channels/NAME.json`. Its ramp says how many machines may take the
release by when; a machine's place in it is a hash of its identity and of the release, so that each
release meets other machines first and no server has to remember any. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.json_fields import Fields, canonical, format_moment, parse_object
from orlop.wire.release import ARCHITECTURE, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json
    from orlop.wire.release import Release

MAX_BYTES = 64 << 10
BUCKETS = 10_000
"""Steps of a ramp are hundredths of a percent."""

MAX_HOURS = 1_000_000

NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?")
REASON = re.compile(r"[ -~]{0,200}")
_STEP = re.compile(r"(\d{1,6})(h|d)=(\d{1,3}(?:\.\d{1,2})?)%")


@dataclass(frozen=True, slots=True)
class Step:
    """From *after_s* seconds after the start on, *buckets* of 10,000 may take the release."""

    after_s: int
    buckets: int


@dataclass(frozen=True, slots=True)
class Barrier:
    """A release that older machines must run before they take a newer one."""

    version: str
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """*start* is in seconds since 1970. *dead_ends* and *revoked* are versions, each with the
    reason."""

    sequence: int
    release: str
    start: int = 0
    ramp: tuple[Step, ...] = (Step(0, BUCKETS),)
    barriers: tuple[Barrier, ...] = ()
    dead_ends: Mapping[str, str]
    revoked: Mapping[str, str]


class Why(StrEnum):
    """Why a machine takes nothing now."""

    CURRENT = "current"
    RAMP = "ramp"
    DEAD_END = "dead-end"
    REVOKED = "revoked"
    DOWNGRADE = "downgrade"
    BARRIER = "barrier"
    EXPIRED = "expired"
    ARCHITECTURE = "architecture"


@dataclass(frozen=True, slots=True)
class Refused:
    """*when* is the second in which it will be different, 0 if nobody knows."""

    why: Why
    text: str
    when: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """Who asks. *wariness* is where in a ramp it stands, in buckets; None is by chance. *version*
    and *sequence* are those that run, 0 for an image that was never part of a release."""

    identity: str
    version: str
    sequence: int
    wariness: int | None = None
    allow_downgrade: bool = False


def target_name(channel: str) -> str:
    """The TUF target that holds *channel*."""
    return f"channels/{channel}.json"


def parse_channel(data: bytes, name: str) -> Channel:
    """The channel in *data*, called *name* in errors.

    Raises:
        InvalidArgument: it is none; says which field is wrong.
    """
    fields = parse_object(data, f"channel {name}", MAX_BYTES)
    rollout = fields.section("rollout")
    ramp: list[Step] = []
    for item in rollout.items("ramp"):
        step = _step(rollout, item)
        if ramp and (step.after_s <= ramp[-1].after_s or step.buckets < ramp[-1].buckets):
            raise rollout.error("ramp", "must rise")
        ramp.append(step)
    return Channel(
        sequence=fields.number("sequence", 1),
        release=fields.text("release", VERSION),
        start=rollout.moment("start"),
        ramp=tuple(ramp),
        barriers=tuple(
            Barrier(entry.text("version", VERSION), entry.number("sequence", 1))
            for entry in fields.entries("barriers")
        ),
        dead_ends=_reasons(fields, "dead_ends"),
        revoked=_reasons(fields, "revoked"),
    )


def format_channel(channel: Channel) -> bytes:
    """The channel as it is signed: `parse_channel` reads it."""
    data: dict[str, Json] = {
        "sequence": channel.sequence,
        "release": channel.release,
        "rollout": {
            "start": format_moment(channel.start),
            "ramp": [[_plain(s.after_s, 3600), _plain(s.buckets, 100)] for s in channel.ramp],
        },
        "barriers": [{"version": b.version, "sequence": b.sequence} for b in channel.barriers],
        "dead_ends": _reasons_json(channel.dead_ends),
        "revoked": _reasons_json(channel.revoked),
    }
    return canonical(data)


def parse_ramp(text: str) -> tuple[Step, ...]:
    """`0h=1%,24h=50%`, as people write it.

    Raises:
        InvalidArgument: it is none.
    """
    ramp: list[Step] = []
    for word in text.split(","):
        match = _STEP.fullmatch(word.strip())
        if match is None or float(match[3]) > 100:
            raise InvalidArgument(
                f"ramp: HOURSh=PERCENT% expected, not {word[:40]!r}", hint="--ramp 0h=1%,24h=50%"
            )
        hours = int(match[1]) * (24 if match[2] == "d" else 1)
        step = Step(hours * 3600, round(float(match[3]) * 100))
        if ramp and (step.after_s <= ramp[-1].after_s or step.buckets < ramp[-1].buckets):
            raise InvalidArgument(f"ramp: {word} does not come after and above the step before it")
        ramp.append(step)
    return tuple(ramp)


def bucket(identity: str, release_digest: str) -> int:
    """The place of a machine in the ramp of a release: from 0, which is first, to 9,999."""
    from hashlib import sha256

    return int(sha256(f"{identity}{release_digest}".encode()).hexdigest(), 16) % BUCKETS


def open_buckets(channel: Channel, now: int) -> int:
    """How many of the 10,000 may take the release at *now*."""
    return max((s.buckets for s in channel.ramp if channel.start + s.after_s <= now), default=0)


def choose(channel: Channel, machine: Machine) -> str | Refused:
    """The version that *machine* is to run next, its turn in the ramp aside: the channel's release,
    or the first barrier on the way there."""
    running = machine.version
    if running in channel.dead_ends and not machine.allow_downgrade:
        reason = channel.dead_ends[running]
        text = f"no release follows {running}" + (f": {reason}" if reason else "")
        return Refused(Why.DEAD_END, text)
    # A machine with a newer release than a barrier has been through it.
    ahead = sorted(
        (b.sequence, b.version) for b in channel.barriers if b.sequence > machine.sequence
    )
    wanted = ahead[0][1] if ahead and machine.sequence else channel.release
    return _revoked(channel, wanted) or wanted


def withdrawn(channel: Channel, release: Release, now: int) -> Refused | None:
    """Why *release*, which a machine has staged, must not be applied at *now*."""
    return _revoked(channel, release.version) or _expired(release, now)


def _revoked(channel: Channel, version: str) -> Refused | None:
    if version not in channel.revoked:
        return None
    reason = channel.revoked[version]
    text = f"release {version} is revoked" + (f": {reason}" if reason else "")
    return Refused(Why.REVOKED, text)


def _expired(release: Release, now: int) -> Refused | None:
    if not release.not_after or now <= release.not_after:
        return None
    end = format_moment(release.not_after)
    return Refused(Why.EXPIRED, f"release {release.version} must not be used after {end}")


def judge(
    channel: Channel, release: Release, digest: str, machine: Machine, now: int
) -> Refused | None:
    """Whether *machine* may not take *release*, whose manifest has *digest*, at *now*."""
    version = release.version
    if release.architecture != ARCHITECTURE:
        return Refused(Why.ARCHITECTURE, f"release {version} is for {release.architecture}")
    if version == machine.version and release.sequence == machine.sequence:
        return Refused(Why.CURRENT, f"{version} is what the channel has")
    if release.sequence <= machine.sequence and not machine.allow_downgrade:
        return Refused(
            Why.DOWNGRADE,
            f"release {version} (sequence {release.sequence}) is older than what runs "
            f"({machine.version or 'unknown'}, sequence {machine.sequence})",
        )
    if (expired := _expired(release, now)) is not None:
        return expired
    if machine.sequence and machine.sequence < release.minimum_sequence:
        return Refused(
            Why.BARRIER,
            f"release {version} takes machines from sequence {release.minimum_sequence} on, and no "
            "barrier leads there",
        )
    # Who runs what was revoked does not wait; nor does anybody on the way to a barrier.
    if version != channel.release or machine.version in channel.revoked:
        return None
    return _wait(channel, digest, machine, now)


def _wait(channel: Channel, digest: str, machine: Machine, now: int) -> Refused | None:
    place = bucket(machine.identity, digest) if machine.wariness is None else machine.wariness
    if place < open_buckets(channel, now):
        return None
    turn = next((channel.start + s.after_s for s in channel.ramp if place < s.buckets), 0)
    when = f"from {format_moment(turn)} on" if turn else "when the rollout goes further"
    text = f"release {channel.release} is for this machine {when} (place {place / 100:.2f} %)"
    return Refused(Why.RAMP, text, turn)


def _step(fields: Fields, item: object) -> Step:
    match item:
        case [int() | float() as hours, int() | float() as percent] if (
            0 <= hours <= MAX_HOURS and 0 <= percent <= 100
        ):
            return Step(round(hours * 3600), round(percent * 100))
        case _:
            raise fields.error("ramp", "must be a list of [HOURS, PERCENT]")


def _reasons(fields: Fields, key: str) -> dict[str, str]:
    return {
        entry.text("version", VERSION): entry.text("reason", REASON, default="")
        for entry in fields.entries(key)
    }


def _reasons_json(reasons: Mapping[str, str]) -> Json:
    return [{"version": version, "reason": reason} for version, reason in sorted(reasons.items())]


def _plain(value: int, unit: int) -> int | float:
    return value // unit if value % unit == 0 else value / unit
