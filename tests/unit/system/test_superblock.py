"""Superblocks: made by hand at the documented offsets, whole and cut short."""

import pytest

from orlop.system.storage.superblock import HEAD_BYTES, Superblock, identify

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
