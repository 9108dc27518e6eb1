"""Labels and UUIDs of file systems made by the programs that really make them."""

import subprocess
from pathlib import Path

import pytest

from orlop.services.devices.probing import probe
from orlop.services.devices.superblock import Identity

pytestmark = pytest.mark.engine

UUID = "0d15ea5e-1234-4abc-8def-00000000f00d"


def make(path: Path, megabytes: int, *argv: str, stdin: str = "") -> Identity | None:
    """Run *argv* with the image's path at the end; what is found in the image then."""
    with path.open("wb") as stream:
        stream.truncate(megabytes << 20)
    subprocess.run([*argv, str(path)], check=True, capture_output=True, input=stdin, text=True)
    return probe(str(path), megabytes << 20)


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_ext(tmp_path: Path, kind: str) -> None:
    found = make(
        tmp_path / "i", 8, "mke2fs", "-q", "-F", "-t", kind, "-L", "ORLOP_STATE", "-U", UUID
    )
    assert found == Identity(kind, b"ORLOP_STATE", UUID)


def test_xfs(tmp_path: Path) -> None:
    found = make(tmp_path / "i", 512, "mkfs.xfs", "-q", "-L", "data", "-m", f"uuid={UUID}")
    assert found == Identity("xfs", b"data", UUID)


def test_btrfs(tmp_path: Path) -> None:
    found = make(tmp_path / "i", 256, "mkfs.btrfs", "-q", "-L", "a b", "-U", UUID)
    assert found == Identity("btrfs", b"a b", UUID)


@pytest.mark.parametrize(("bits", "megabytes"), [("12", 2), ("16", 32), ("32", 64)])
def test_vfat(tmp_path: Path, bits: str, megabytes: int) -> None:
    found = make(
        tmp_path / "i", megabytes, "mkfs.fat", "-F", bits, "-n", "BOOT DISK", "-i", "1234ABCD"
    )
    assert found == Identity("vfat", b"BOOT DISK", "1234-ABCD")


def test_vfat_without_a_label(tmp_path: Path) -> None:
    found = make(tmp_path / "i", 32, "mkfs.fat", "-i", "00000001")
    assert found == Identity("vfat", b"", "0000-0001")


def test_swap(tmp_path: Path) -> None:
    found = make(tmp_path / "i", 1, "mkswap", "-L", "swap0", "-U", UUID)
    assert found == Identity("swap", b"swap0", UUID)


@pytest.mark.parametrize("kind", ["luks1", "luks2"])
def test_luks(tmp_path: Path, kind: str) -> None:
    found = make(
        tmp_path / "i",
        20,
        *("cryptsetup", "luksFormat", "--batch-mode", "--type", kind, "--uuid", UUID),
        *("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", "-"),
        *(("--label", "vault") if kind == "luks2" else ()),
        stdin="secret",
    )
    assert found == Identity("crypto_LUKS", b"vault" if kind == "luks2" else b"", UUID)


def test_iso9660(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("x")
    image = tmp_path / "i.iso"
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-V", "ORLOP", "-o", str(image)]
    subprocess.run([*command, str(tmp_path / "tree")], check=True, capture_output=True)
    found = probe(str(image), image.stat().st_size)
    assert found is not None
    assert (found.kind, found.label) == ("iso9660", b"ORLOP")
    assert len(found.uuid) == len("2026-11-23-09-30-00-00")
