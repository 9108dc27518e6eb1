"""Azure's disk: a real one, one that is damaged anywhere, and others."""

import random

import pytest

from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.system.cloud.seed_disk import recognise
from orlop.wire.cloud import azure_disk, udf
from orlop.wire.cloud.conversation import NoAnswer
from tests.unit.wire.cloud.udf_image import CUSTOM_DATA, IMAGE

BLOCK = udf.BLOCK_BYTES
USED = [n for n in range(len(IMAGE) // BLOCK) if any(IMAGE[n * BLOCK : (n + 1) * BLOCK])]


def test_the_answer() -> None:
    answer = azure_disk.parse(IMAGE, "uuid")
    assert (answer.source, answer.instance_id, answer.hostname) == ("azure", "uuid", "ship")
    assert answer.user_data == CUSTOM_DATA


def test_it_is_recognised() -> None:
    assert recognise("/dev/sr0", IMAGE[:0x11000]) == ("azure", "udf", "/dev/sr0")
    assert recognise("/dev/sr0", IMAGE[: 18 * BLOCK]) is None


def test_files_by_name() -> None:
    assert udf.read_file(IMAGE, "OVF-ENV.XML") == udf.read_file(IMAGE, "ovf-env.xml")
    assert udf.read_file(IMAGE, "none") is None


def test_another_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure_disk, "FILE", "other.xml")
    with pytest.raises(NoAnswer, match=r"no other\.xml"):
        azure_disk.parse(IMAGE, "uuid")
    for data in (b"", bytes(1 << 20), IMAGE[: 256 * BLOCK]):
        with pytest.raises(InvalidArgument, match="damaged UDF disk"):
            azure_disk.parse(data, "uuid")


def test_cut_off_anywhere() -> None:
    for end in range(0, len(IMAGE), BLOCK // 2):
        _parse(IMAGE[:end])


def test_damage_anywhere_is_an_error_or_nothing() -> None:
    chance = random.Random(20)
    for _ in range(3000):
        data = bytearray(IMAGE)
        for _ in range(chance.randint(1, 6)):
            data[chance.choice(USED) * BLOCK + chance.randrange(512)] = chance.randrange(256)
        _parse(bytes(data))


def _parse(data: bytes) -> None:
    try:
        azure_disk.parse(data, "uuid")
    except OrlopError:
        pass
