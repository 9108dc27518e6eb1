"""Superblocks: made by hand at the documented offsets, whole and cut short."""

import pytest

from orlop.system.storage.superblock import (
    HEAD_BYTES,
    RAID,
    RAID_BYTES,
    Superblock,
    array_places,
    identify,
    identify_array,
)

UUID = bytes(range(16))
UUID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def ext4(label: bytes = b"ORLOP_STATE", state: int = 1, incompatible: int = 0) -> bytearray:
    head = bytearray(HEAD_BYTES)
    head[0x438:0x43A] = b"\x53\xef"
    head[0x43A:0x43C] = state.to_bytes(2, "little")
    head[0x460:0x464] = incompatible.to_bytes(4, "little")
    head[0x468:0x478] = UUID
    head[0x478:0x488] = label.ljust(16, b"\0")
    return head


def xfs(label: bytes = b"ORLOP_STATE") -> bytearray:
    head = bytearray(HEAD_BYTES)
    head[:4] = b"XFSB"
    head[32:48] = UUID
    head[108:120] = label.ljust(12, b"\0")
    return head


def btrfs(label: bytes = b"ORLOP_STATE") -> bytearray:
    head = bytearray(HEAD_BYTES)
    head[0x10040:0x10048] = b"_BHRfS_M"
    head[0x10020:0x10030] = UUID
    head[0x1012B : 0x1012B + 256] = label.ljust(256, b"\0")
    return head


@pytest.mark.parametrize(("head", "fstype"), [(ext4(), "ext4"), (xfs(), "xfs"), (btrfs(), "btrfs")])
def test_recognised(head: bytearray, fstype: str) -> None:
    assert identify(bytes(head)) == Superblock(fstype, "ORLOP_STATE", UUID_TEXT)


@pytest.mark.parametrize(
    ("state", "clean"), [(1, True), (0, False), (2, False), (3, False), (5, False)]
)
def test_ext4_says_that_it_wants_a_check(state: int, clean: bool) -> None:
    found = identify(bytes(ext4(state=state)))
    assert found is not None
    assert found.clean is clean


def test_an_external_journal_is_no_file_system() -> None:
    assert identify(bytes(ext4(incompatible=8))) is None


def test_labels_without_end_and_without_sense() -> None:
    full = identify(bytes(ext4(b"0123456789abcdef")))
    assert full is not None
    assert full.label == "0123456789abcdef"
    strange = identify(bytes(ext4(b"\xff\xfe")))
    assert strange is not None
    assert "\ufffd" in strange.label


@pytest.mark.parametrize("head", [ext4(), xfs(), btrfs()])
def test_every_length_is_safe(head: bytearray) -> None:
    for length in (*range(2100), 0x10000, 0x10048, 0x10FFF):
        identify(bytes(head[:length]))
    assert identify(b"") is None
    assert identify(bytes(HEAD_BYTES)) is None


@pytest.mark.parametrize(("size", "places"), [(1 << 20, (983040, 1040384)), (0, (-65536, -8192))])
def test_arrays_that_are_described_at_the_end(size: int, places: tuple[int, int]) -> None:
    """MD_NEW_SIZE_SECTORS, and the place that mdadm's super1.c computes for metadata 1.0."""
    assert array_places(size) == places


def array(version: int, place: int = 0) -> bytes:
    block = bytearray(RAID_BYTES)
    block[:8] = b"\xfc\x4e\x2b\xa9" + version.to_bytes(4, "little")
    block[128:136] = (place // 512).to_bytes(8, "little")
    return bytes(block)


def test_what_is_in_half_an_array_is_not_taken_for_itself() -> None:
    head = bytes(ext4())
    for version in (0, 1):
        found = identify_array(head, 8192, array(version, 8192))
        assert found is not None
        assert found.fstype == RAID


def test_a_partition_is_not_what_its_disk_is_and_the_disk_not_what_its_partition_is() -> None:
    head = ext4()
    assert identify_array(bytes(head), 4096, array(1, 8192)) is None
    head[510:512] = b"\x55\xaa"
    assert identify_array(bytes(head), 8192, array(0)) is None
    assert identify_array(bytes(head), 8192, array(1, 8192)) is not None
    assert identify_array(bytes(head), 8192, array(1, 8192)[:-1]) is None
    assert identify_array(bytes(head), 8192, bytes(RAID_BYTES)) is None
