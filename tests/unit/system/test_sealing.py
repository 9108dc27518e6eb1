"""Requests to seal a disk, and which disk is meant."""

import base64
import os
from pathlib import Path

import pytest

from orlop.lib.errors import Conflict, InvalidArgument
from orlop.system.storage.sealing import Request, device_below, parse_request

KEY = base64.b64encode(b"key").decode()


def test_a_request_has_defaults() -> None:
    assert parse_request({"key": KEY}) == Request("", b"key", (7,))
    found = parse_request({"device": "/dev/sda2", "key": KEY, "pcrs": [11, 7, 7]})
    assert found == Request("/dev/sda2", b"key", (7, 11))
    assert parse_request({"remove": True}).remove


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "key: 1 to"),
        ({"key": "?"}, "Base64"),
        ({"key": base64.b64encode(bytes(8193)).decode()}, "8192"),
        ({"key": KEY, "device": "sda"}, "device"),
        ({"key": KEY, "device": "/dev/a\0b"}, "device"),
        ({"key": KEY, "pcrs": []}, "at least one"),
        ({"key": KEY, "pcrs": [7, 15]}, "Orlop's own"),
        ({"key": KEY, "pcrs": [24]}, "pcrs"),
        ({"key": KEY, "pcrs": [True]}, "pcrs"),
        ({"key": KEY, "pcrs": 7}, "pcrs"),
        ({"remove": 1}, "remove"),
        ({"key": KEY, "pin": "1"}, "pin: there is no such field"),
    ],
)
def test_others_are_refused(body: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        parse_request(body)


def test_the_states_disk_is_below_its_mapping(tmp_path: Path) -> None:
    number = os.stat("/dev/null").st_rdev
    directory = tmp_path / f"{os.major(number)}:{os.minor(number)}"
    (directory / "dm").mkdir(parents=True)
    (directory / "slaves/cciss!c0d0").mkdir(parents=True)
    (directory / "dm/uuid").write_text("CRYPT-LUKS2-0123-orlop-state\n")
    assert device_below("/dev/null", str(tmp_path)) == "/dev/cciss/c0d0"
    (directory / "dm/uuid").write_text("LVM-0123\n")
    for device in ("/dev/null", "/none", ""):
        with pytest.raises(Conflict, match="not on an encrypted disk"):
            device_below(device, str(tmp_path))
