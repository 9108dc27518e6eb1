"""Flags as docker takes them, and the values of those that have a form of their own."""

from __future__ import annotations

import pytest

from orlop.cli.docker import run_values as values_of
from orlop.cli.docker.flags import (
    BYTES,
    DURATION,
    INT,
    LIST,
    STRING,
    STRINGS,
    Flag,
    FlagError,
    parse_bytes,
    parse_duration_ns,
    parse_flags,
    parse_nano_cpus,
)
from orlop.cli.docker.mounts import parse_mount, split_volume
from orlop.cli.docker.ports import expose, publish

FLAGS = (
    Flag("all", "a"),
    Flag("interactive", "i"),
    Flag("tty", "t"),
    Flag("name", "n", STRING, default="none"),
    Flag("env", "e", LIST),
    Flag("alias", "", STRINGS),
    Flag("last", "l", INT),
    Flag("memory", "m", BYTES),
    Flag("wait", "", DURATION),
    Flag("proxy", "", default="true"),
)


@pytest.mark.parametrize(
    ("words", "name", "found"),
    [
        ("--name x", "name", "x"),
        ("--name=x", "name", "x"),
        ("--name=", "name", ""),
        ("-n x", "name", "x"),
        ("-nx", "name", "x"),
        ("-n=x", "name", "x"),
        ("", "name", "none"),
        ("--name a --name b", "name", "b"),
    ],
)
def test_values(words: str, name: str, found: str) -> None:
    assert parse_flags(words.split(), FLAGS).text(name) == found


def test_flags_without_values() -> None:
    found = parse_flags(["-it", "--all=false", "word", "-e", "a", "--env=b", "--", "-x"], FLAGS)
    assert [found.flag(name) for name in ("interactive", "tty", "all", "proxy")] == [
        *(True, True, False, True),
    ]
    assert found.many("env") == ["a", "b"]
    assert found.words == ["word", "-x"]
    assert not parse_flags(["--proxy=false"], FLAGS).flag("proxy")
    assert parse_flags(["--alias", "a,b", "--alias", "c"], FLAGS).many("alias") == ["a", "b", "c"]
    assert parse_flags(["-l", "0x10"], FLAGS).number("last") == 16


def test_leading_flags_end_at_the_first_word() -> None:
    found = parse_flags(["-a", "image", "-t", "--", "x"], FLAGS, leading=True)
    assert found.words == ["image", "-t", "--", "x"]
    assert not found.flag("tty")


WRONG = ["--foo", "-x", "-n", "--name", "--all=x", "-l x", "-m x", "---a"]


@pytest.mark.parametrize("words", WRONG)
def test_refused(words: str) -> None:
    with pytest.raises(FlagError):
        parse_flags(words.split(), FLAGS)


def test_sizes_and_durations() -> None:
    assert [parse_bytes(text) for text in ("1", "1k", "2KB", "1.5MiB", "1g", "-1")] == [
        *(1, 1024, 2048, 1572864, 1 << 30, -1),
    ]
    assert [parse_duration_ns(text) for text in ("0", "1.5s", "1h2m", "-1ms", "5us")] == [
        *(0, 1_500_000_000, 3_720_000_000_000, -1_000_000, 5_000),
    ]
    assert parse_nano_cpus("1.5") == 1_500_000_000
    for text in ("", "s", "1", "1x", "1..2s"):
        with pytest.raises(ValueError, match="duration"):
            parse_duration_ns(text)


def test_ports() -> None:
    exposed, bindings = publish(["8080:80", "[::1]:1:2/udp", "90-91:100-101", "5-7:6"])
    assert sorted(exposed) == ["100/tcp", "101/tcp", "2/udp", "6/tcp", "80/tcp"]
    assert bindings["2/udp"] == [{"HostIp": "::1", "HostPort": "1"}]
    assert bindings["101/tcp"] == [{"HostIp": "", "HostPort": "91"}]
    assert bindings["6/tcp"] == [{"HostIp": "", "HostPort": "5-7"}]
    assert sorted(expose(["7", "8-9/udp"])) == ["7/tcp", "8/udp", "9/udp"]
    for text in ("x", "99999", "1:2:3:4:5", "9-8:1-2", "80/foo", ":"):
        with pytest.raises(ValueError):
            publish([text])


def test_mounts_and_volumes() -> None:
    assert parse_mount('type=volume,src=v,dst=/x,"volume-opt=o=a,b",ro') == {
        "Type": "volume",
        "Source": "v",
        "Target": "/x",
        "ReadOnly": True,
        "VolumeOptions": {"DriverConfig": {"Options": {"o": "a,b"}}},
    }
    assert split_volume("/a") == (None, "/a")
    assert split_volume("v:/a:ro") == ("v:/a:ro", "")
    for text in ("", "foo", "type=bind", "target=/x,ro=maybe", "type=tmpfs,target=/x,tmpfs-size=x"):
        with pytest.raises(ValueError):
            parse_mount(text)


def test_other_values() -> None:
    assert values_of.ulimit("nofile=1:2") == {"Name": "nofile", "Soft": 1, "Hard": 2}
    assert values_of.device("/dev/a:rw")["CgroupPermissions"] == "rw"
    assert values_of.device("/dev/a:/dev/b:r")["PathInContainer"] == "/dev/b"
    assert values_of.restart_policy("on-failure:3")["MaximumRetryCount"] == 3
    assert values_of.network_option("name=a,alias=b,alias=c")["alias"] == ["b", "c"]
    assert values_of.throttle("/dev/a:1mb", is_size=True) == {"Path": "/dev/a", "Rate": 1 << 20}
    for act, text in (
        (values_of.ulimit, "nofile"),
        (values_of.ulimit, "nofile=2:1"),
        (values_of.device, "a:b:c:d"),
        (values_of.restart_policy, "x:y"),
        (values_of.network_option, "a=b"),
        (values_of.weight_device, "/dev/a:9"),
    ):
        with pytest.raises(ValueError):
            act(text)
