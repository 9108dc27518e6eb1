"""Channels: who takes which release when. The last test is a fleet of a thousand machines."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.channel import (
    Barrier,
    Channel,
    Machine,
    Refused,
    Step,
    Why,
    bucket,
    choose,
    format_channel,
    judge,
    open_buckets,
    parse_channel,
    parse_ramp,
    withdrawn,
)
from orlop.wire.release import Image, Release

START = 1_800_000_000
HOUR = 3600
DIGEST = "d" * 64
CHANNEL = Channel(
    sequence=12,
    release="5.0",
    start=START,
    ramp=(Step(0, 100), Step(24 * HOUR, 5000), Step(48 * HOUR, 10_000)),
    barriers=(Barrier("3.0", 30), Barrier("2.0", 20)),
    dead_ends={"1.5": "its disk layout cannot be changed"},
    revoked={"4.0": "loses data"},
)
RELEASE = Release(
    version="5.0", sequence=50, image=Image("a" * 64, 1 << 20, "0" * 16, (1, 10), (11, 10))
)


def machine(version: str = "4.5", sequence: int = 45, **more: int | bool) -> Machine:
    return Machine("0a1b", version, sequence, **more)  # type: ignore[arg-type]


def test_round_trip() -> None:
    data = format_channel(CHANNEL)
    assert parse_channel(data, "stable") == CHANNEL
    assert format_channel(parse_channel(data, "stable")) == data


def test_ramps_as_people_write_them() -> None:
    assert parse_ramp("0h=1%,24h=50%, 2d=100%") == CHANNEL.ramp
    assert parse_ramp("0h=0.25%") == (Step(0, 25),)
    for wrong in ("", "1%", "0h=101%", "0h=5%,0h=6%", "0h=50%,24h=1%", "0h=1.234%", "-1h=1%"):
        with pytest.raises(InvalidArgument):
            parse_ramp(wrong)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("sequence", "1", "sequence must be a whole number"),
        ("release", "../etc", "release is malformed"),
        ("rollout", None, "rollout must be an object"),
        ("rollout", {"start": "now", "ramp": []}, "start is malformed"),
        ("barriers", [{"version": "1"}], r"barriers\[0\]: sequence must be"),
        ("revoked", ["4.0"], r"revoked\[0\] must be an object"),
    ],
)
def test_malformed(key: str, value: object, problem: str) -> None:
    data = json.loads(format_channel(CHANNEL)) | {key: value}
    with pytest.raises(InvalidArgument, match=f"channel stable.*{problem}"):
        parse_channel(json.dumps(data).encode(), "stable")


@pytest.mark.parametrize(
    "ramp",
    [[[0, 101]], [[0, -1]], [["0", 1]], [[0]], [[1e15, 1]], [[0, 5], [0, 6]], [[0, 5], [1, 4]]],
)
def test_malformed_ramp(ramp: object) -> None:
    data = json.loads(format_channel(CHANNEL))
    data["rollout"]["ramp"] = ramp
    with pytest.raises(InvalidArgument, match="ramp must"):
        parse_channel(json.dumps(data).encode(), "stable")


def test_barriers_are_passed_one_by_one() -> None:
    assert choose(CHANNEL, machine("1.0", 10)) == "2.0"
    assert choose(CHANNEL, machine("2.0", 20)) == "3.0"
    assert choose(CHANNEL, machine("2.9", 29)) == "3.0"
    assert choose(CHANNEL, machine("3.0", 30)) == "5.0"
    assert choose(CHANNEL, machine("unknown", 0)) == "5.0"


def test_what_is_not_taken() -> None:
    found = choose(CHANNEL, machine("1.5", 15))
    assert isinstance(found, Refused)
    assert (found.why, "disk layout" in found.text) == (Why.DEAD_END, True)
    found = choose(replace(CHANNEL, release="4.0"), machine())
    assert isinstance(found, Refused)
    assert (found.why, found.text) == (Why.REVOKED, "release 4.0 is revoked: loses data")


@pytest.mark.parametrize(
    ("release", "asking", "why"),
    [
        (RELEASE, machine("5.0", 50), Why.CURRENT),
        (RELEASE, machine("6.0", 60), Why.DOWNGRADE),
        (RELEASE, machine("5.0-rebuilt", 50), Why.DOWNGRADE),
        (replace(RELEASE, not_after=START - 1), machine(), Why.EXPIRED),
        (replace(RELEASE, minimum_sequence=46), machine(), Why.BARRIER),
        (replace(RELEASE, architecture="arm64"), machine(), Why.ARCHITECTURE),
        (RELEASE, machine(wariness=100), Why.RAMP),
    ],
)
def test_a_release_that_is_not_for_this_machine(
    release: Release, asking: Machine, why: Why
) -> None:
    found = judge(CHANNEL, release, DIGEST, asking, START)
    assert found is not None
    assert found.why is why


def test_a_release_that_is() -> None:
    assert judge(CHANNEL, RELEASE, DIGEST, machine(wariness=99), START) is None
    assert judge(CHANNEL, RELEASE, DIGEST, machine(wariness=9999), START + 48 * HOUR) is None
    older = machine("6.0", 60, wariness=0, allow_downgrade=True)
    assert judge(CHANNEL, RELEASE, DIGEST, older, START) is None


def test_what_is_staged_is_withdrawn() -> None:
    staged = replace(RELEASE, not_after=1000)
    assert withdrawn(CHANNEL, staged, 1000) is None
    late = withdrawn(CHANNEL, staged, 1001)
    revoked = withdrawn(replace(CHANNEL, revoked={staged.version: ""}), staged, 0)
    assert [None if found is None else found.why for found in (late, revoked)] == [
        Why.EXPIRED,
        Why.REVOKED,
    ]


def test_who_runs_what_was_revoked_does_not_wait() -> None:
    assert judge(CHANNEL, RELEASE, DIGEST, machine("4.0", 40, wariness=9999), START) is None


def test_the_turn_is_told() -> None:
    found = judge(CHANNEL, RELEASE, DIGEST, machine(wariness=4000), START)
    assert found is not None
    assert found.when == START + 24 * HOUR
    half = replace(CHANNEL, ramp=CHANNEL.ramp[:2])
    found = judge(half, RELEASE, DIGEST, machine(wariness=6000), START)
    assert found is not None
    assert (found.when, "when the rollout goes further" in found.text) == (0, True)


def test_before_the_start_nobody_takes_it() -> None:
    assert open_buckets(CHANNEL, START - 1) == 0
    assert open_buckets(CHANNEL, START) == 100


def test_each_release_meets_other_machines_first() -> None:
    names = [f"machine-{number}" for number in range(2000)]
    first = {name for name in names if bucket(name, "a" * 64) < 1000}
    second = {name for name in names if bucket(name, "b" * 64) < 1000}
    assert 140 < len(first) < 260  # a tenth, more or less
    assert len(first & second) < 60


def test_a_thousand_machines_and_a_release_of_which_a_third_fails() -> None:
    """Static files alone: the operator looks at a step's outcome before the next one is open, and
    revokes. No more machines than the step lets in have ever met the bad release."""
    machines = [Machine(f"{number:032x}", "4.5", 45) for number in range(1000)]
    bad = replace(RELEASE, version="5.0", sequence=50)
    channel = replace(CHANNEL, ramp=parse_ramp("0h=2%,6h=10%,24h=100%"))
    limit = sum(bucket(one.identity, DIGEST) < 200 for one in machines)
    affected: set[str] = set()
    revoked_at = 0
    for now in range(START, START + 48 * HOUR, HOUR // 2):
        for one in machines:
            if one.identity in affected or isinstance(choose(channel, one), Refused):
                continue
            if judge(channel, bad, DIGEST, one, now) is None:
                affected.add(one.identity)
        failed = sum(sha256(name.encode()).digest()[0] < 77 for name in affected)  # 30 %
        if now >= START + 3 * HOUR and failed * 10 > len(affected):
            channel = replace(channel, revoked={"5.0": "three of ten fail"})
            revoked_at = revoked_at or now
    assert revoked_at == START + 3 * HOUR
    assert 0 < len(affected) <= limit < 40
