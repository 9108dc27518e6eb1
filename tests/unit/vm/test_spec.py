"""What people write on the command line of `./orlop run`."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.vm.spec import (
    Protocol,
    Publish,
    parse_disk,
    parse_memory_mib,
    parse_name,
    parse_publish,
)


@pytest.mark.parametrize(
    ("text", "name", "size_bytes"),
    [("data", "data", None), ("data=8g", "data", 8 << 30), ("a-1=64m", "a-1", 64 << 20)],
)
def test_disk(text: str, name: str, size_bytes: int | None) -> None:
    assert parse_disk(text) == (name, size_bytes)


@pytest.mark.parametrize("text", ["", "=1g", "../x", "A", "a b", "data=", "data=1m", "data=many"])
def test_no_disk(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_disk(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:80", Publish(8080, 80)),
        ("0:22", Publish(0, 22)),
        ("53:5353/udp", Publish(53, 5353, Protocol.UDP)),
    ],
)
def test_publish(text: str, expected: Publish) -> None:
    assert parse_publish(text) == expected


@pytest.mark.parametrize(
    "text", ["", "80", ":80", "80:", "80:0", "65536:1", "1:2/sctp", "-1:2", "²:2"]
)
def test_no_publish(text: str) -> None:
    with pytest.raises(InvalidArgument, match="does not publish a port"):
        parse_publish(text)


@pytest.mark.parametrize(
    ("text", "mib"), [("256", 256), ("512m", 512), ("2g", 2048), ("1.5g", 1536)]
)
def test_memory(text: str, mib: int) -> None:
    assert parse_memory_mib(text) == mib


@pytest.mark.parametrize("text", ["", "0", "63", "lots", "-1"])
def test_no_memory(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_memory_mib(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "a/b", "..", "a" * 33, "Ä"])
def test_no_name(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_name(text)


def test_name() -> None:
    assert parse_name("web-1") == "web-1"
