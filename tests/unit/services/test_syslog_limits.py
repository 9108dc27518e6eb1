"""Rate limits per sender, and who the sender is."""

from pathlib import Path

import pytest

from orlop.services.syslog.limits import (
    BURST,
    MAX_SENDERS,
    PER_SECOND,
    RateLimit,
    container_of,
    parse_container,
)


def test_one_loud_sender_does_not_silence_another() -> None:
    limit = RateLimit()
    taken = sum(limit.check("loud", 0.0).accepted for _ in range(BURST * 3))
    assert taken == BURST
    assert limit.check("quiet", 0.0).accepted


def test_drops_are_told_once_when_it_gets_better() -> None:
    limit = RateLimit()
    for _ in range(BURST + 50):
        limit.check("loud", 0.0)
    assert not limit.check("loud", 0.01).accepted
    later = limit.check("loud", BURST / PER_SECOND)
    assert later.accepted
    assert later.dropped_before == 51
    assert limit.check("loud", BURST / PER_SECOND).dropped_before == 0


def test_a_clock_that_stands_still_or_goes_back_is_no_refill() -> None:
    limit = RateLimit()
    for _ in range(BURST):
        limit.check("a", 100.0)
    assert not limit.check("a", 50.0).accepted


def test_senders_are_bounded() -> None:
    limit = RateLimit()
    for number in range(MAX_SENDERS * 2):
        assert limit.check(f"c{number}", float(number)).accepted
    assert len(limit._buckets) == MAX_SENDERS


@pytest.mark.parametrize(
    ("cgroups", "name"),
    [
        (b"0::/system/time\n", "time"),
        (b"0::/../time\n", "time"),
        (b"0::/user/web\n", "web"),
        (b"0::/system/time/below\n", "time"),
        (b"0::/init\n", "init"),
        (b"0::/\n", "-"),
        (b"", "-"),
        (b"1:cpu:/x\n0::/system/ssh\n", "ssh"),
        (b"\xff\xfe", "-"),
    ],
)
def test_container_from_cgroup(cgroups: bytes, name: str) -> None:
    assert parse_container(cgroups) == name


def test_container_of_a_process(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cgroup").write_text("0::/system/console\n")
    assert container_of(7, str(tmp_path)) == "console"
    assert container_of(8, str(tmp_path)) == "-"
