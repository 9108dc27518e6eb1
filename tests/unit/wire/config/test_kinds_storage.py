"""Values of the keys for storage."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_values import Fields
from orlop.wire.config.kinds_storage import DEVICES, GROW, PATHS, ZRAM


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *((True, True), (False, False), ("off", False), ("auto", True), ("noblock", True)),
        *(("growpart", True), ("/dev/sda", True)),
    ],
)
def test_words_of_others_for_growing(value: object, meant: bool) -> None:
    assert GROW.check(Fields("", {"k": value}), "k") is meant


@pytest.mark.parametrize(
    ("value", "meant"), [("50%", "50%"), ("64m", 64 << 20), (0, 0), ("0", 0), (1 << 30, 1 << 30)]
)
def test_compressed_memory(value: object, meant: object) -> None:
    assert ZRAM.check(Fields("", {"k": value}), "k") == meant


@pytest.mark.parametrize("value", ["0%", "201%", "5", "much", "%", True, [1]])
def test_no_compressed_memory(value: object) -> None:
    with pytest.raises(InvalidArgument):
        ZRAM.check(Fields("", {"k": value}), "k")


def test_kept_directories() -> None:
    value = ["/opt/", "/srv/data", "/opt", "/home", "/root", "/var/lib/x"]
    assert PATHS.check(Fields("", {"k": value}), "k") == ["/opt", "/srv/data"]
    assert PATHS.check(Fields("", {"k": []}), "k") == []


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/", "must be a directory"),
        ("opt", "must be a directory"),
        ("/a/../b", "must be a directory"),
        ("/a b", "must be a directory"),
        ("/usr/local", "image's own"),
        ("/etc", "image's own"),
    ],
)
def test_what_cannot_be_kept(path: str, why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        PATHS.check(Fields("", {"k": [path]}), "k")


def test_devices() -> None:
    value = ["LABEL=swap", "/dev/sda2", "LABEL=swap"]
    assert DEVICES.check(Fields("", {"k": value}), "k") == ["LABEL=swap", "/dev/sda2"]
    with pytest.raises(InvalidArgument):
        DEVICES.check(Fields("", {"k": ["sda2"]}), "k")
