"""Platforms: spelling, and which runs what."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.platform import (
    Platform,
    host_platform,
    normalize,
    parse_platform,
    rank,
)

HOST = Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("Linux/AArch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("arm64", "linux/arm64"),
        ("armhf", "linux/arm/v7"),
        ("linux", "linux/amd64"),
        ("windows", "windows/amd64"),
        ("macos/x86_64", "darwin/amd64"),
    ],
)
def test_parse(text: str, expected: str) -> None:
    assert str(parse_platform(text, HOST)) == expected


@pytest.mark.parametrize("text", ["", "a/b/c/d", "linux/", "lin ux/amd64", "vax"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"invalid argument$"):
        parse_platform(text, HOST)


def test_rank() -> None:
    v3 = normalize("linux", "amd64", "v3")

    assert rank(v3, v3) == 0
    assert rank(v3, normalize("linux", "amd64", "v2")) == 1
    assert rank(v3, HOST) == 2
    assert rank(HOST, v3) is None
    assert rank(HOST, normalize("linux", "386")) is None
    assert rank(host_platform("aarch64"), normalize("linux", "arm", "v7")) is not None
    assert rank(normalize("linux", "arm", "v7"), normalize("linux", "arm", "v6")) == 1
    assert rank(normalize("linux", "arm", "v6"), normalize("linux", "arm", "v7")) is None
    assert rank(HOST, normalize("windows", "amd64")) is None
