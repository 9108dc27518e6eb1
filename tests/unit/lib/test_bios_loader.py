"""GRUB's parts for a BIOS: they are recognised, placed, and found again on a medium."""

import struct
import subprocess
from pathlib import Path

import pytest

from orlop.lib.bios_loader import ELTORITO_BYTES, from_medium, normal_code, place
from orlop.lib.errors import InvalidArgument

CODE = Path("/usr/lib/grub/i386-pc/boot_hybrid.img")
MIB = 1 << 20


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """core.img for a disk and for a CD."""
    folder = tmp_path_factory.mktemp("grub")
    made = {}
    for target in ("i386-pc", "i386-pc-eltorito"):
        out = folder / target
        words = ["grub-mkimage", "-O", target, "-o", str(out), "-p", "/x", "biosdisk", "part_gpt"]
        subprocess.run(words, check=True)
        made[target] = out.read_bytes()
    return made


def test_each_part_is_told_where_the_next_is(images: dict[str, bytes]) -> None:
    loader = normal_code(CODE.read_bytes()) + images["i386-pc"]
    placed = place(loader, 3 * MIB, MIB)
    assert len(placed.boot_code) == 440
    assert struct.unpack_from("<Q", placed.boot_code, 432) == (3 * 2048,)
    assert len(placed.core) % 512 == 0
    count = len(placed.core) // 512 - 1
    assert struct.unpack_from("<QHH", placed.core, 500) == (3 * 2048 + 1, count, 0x820)
    assert place(loader, 3 * MIB, MIB, 4096).boot_code == b""
    assert placed.core[512:].rstrip(b"\0") == images["i386-pc"][512:].rstrip(b"\0")


def test_a_medium_has_the_same_loader(images: dict[str, bytes]) -> None:
    sector = bytearray(CODE.read_bytes())
    sector[432:440] = struct.pack("<Q", 204)
    sector[440:510] = b"\x55" * 70
    eltorito = bytearray(images["i386-pc-eltorito"])
    eltorito[8:64] = b"i" * 56
    eltorito[ELTORITO_BYTES + 500 : ELTORITO_BYTES + 508] = struct.pack("<Q", 205)
    built = normal_code(CODE.read_bytes()) + images["i386-pc"]
    assert from_medium(bytes(sector), bytes(eltorito)) == built


def test_something_else_is_refused(images: dict[str, bytes]) -> None:
    loader = normal_code(CODE.read_bytes()) + images["i386-pc"]
    for wrong in (b"", bytes(2000), loader[:600], loader[:900] + bytes(300), loader[512:]):
        with pytest.raises(InvalidArgument):
            place(wrong, MIB, MIB)
    with pytest.raises(InvalidArgument, match="too large"):
        place(loader, MIB, 4096)
    with pytest.raises(InvalidArgument, match="no boot loader"):
        from_medium(bytes(512), bytes(2048))
