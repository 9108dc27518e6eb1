"""Installing from an ISO onto a real block device, whole and interrupted at every write."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
from base64 import b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orlop.image.boot_loader import BIOS_FOLDER
from orlop.image.iso import Boot, make_iso
from orlop.lib import boot_record, fat_reader
from orlop.lib.disk_layout import plan_disk
from orlop.system.install import disks
from orlop.system.install.disks import Content
from tests.unit.lib.test_unified_image import image

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [pytest.mark.root, pytest.mark.engine]

MIB = 1 << 20
BUILD = "abcd"
DRIVER = """
import os, signal, sys
from orlop.system.storage import block_devices
from orlop.system.storage import formatting
from orlop.system.install import steps as install_steps
from orlop.system.install import target as install_target
block_devices.SKIPPED = ("ram", "zram", "nbd")  # loop devices are disks here
formatting.MAKERS["ext4"] = ("/usr/sbin/mke2fs", *formatting.MAKERS["ext4"][1:])
from orlop.system.install import disks
disks.FIRMWARE = os.environ.get("TEST_FIRMWARE", "/")  # there: UEFI
left = int(sys.argv[1])
def commit(self, *arguments, whole=install_target.Target.commit):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    whole(self, *arguments)
install_target.Target.commit = commit
import contextlib
from orlop.system.install import array
@contextlib.contextmanager
def made(parts):
    # There is no RAID here: the second half becomes a copy.
    yield parts[0]
    os.sync()
    with open(parts[0], "rb") as one, open(parts[1], "r+b") as other:
        while data := one.read(1 << 20):
            other.write(data)
array.made, array.read_from = made, lambda *_: contextlib.nullcontext()
ENCRYPTED = len(sys.argv) > 2
if ENCRYPTED:
    # There is no device mapper here: what is in the partition is a loop device, not decrypted.
    import shutil, subprocess
    from orlop.system.storage import extras
    from orlop.system.install import luks
    from orlop.system.storage import sealing
    extras.program, extras.ENVIRONMENT = shutil.which, {"LANG": "C.UTF-8", "PATH": os.defpath}
    luks.STRETCHED, luks.DEVICE = sealing.QUICK, sys.argv[2]
    mine = []
    def run(*words):
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    def count(*words, whole=luks._cryptsetup):
        commit(None, whole=lambda _: whole(*words))
    def open_(part, key, *more, whole=luks.Lock._open):
        whole(part, key, "--test-passphrase")
        if not more:
            loop = run("losetup", "--find", "--show", "--offset", str(16 << 20), part)
            os.symlink(loop, sys.argv[2])
            mine.append(loop)
    def close():
        if mine:  # not what another has left open
            commit(None, whole=lambda _: None)
        run("losetup", "--detach", os.readlink(sys.argv[2]))
        os.unlink(sys.argv[2])
    luks._cryptsetup, luks._close = count, close
    luks.Lock._open = staticmethod(open_)
from orlop.system.install.worker import main
sys.exit(main([]))
"""
EFI = b"the boot loader for UEFI" * 100


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_medium(tmp_path_factory.mktemp("medium"))


def make_medium(folder: Path) -> Path:
    """An ISO as the builder makes it, with an image of nothing, in *folder*."""
    blocks = (2).to_bytes(8, "little") + struct.pack("<HH", 0, 0x820)
    files = {
        "image": image(),
        "bios": b"C" * 432 + bytes(78) + b"\x55\xaa" + b"K" * 500 + blocks + b"R" * 4000,
        "efi": EFI,
        "menu": b"# the menu of a disk\n",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    boot = Boot(
        image=folder / "image",
        bios=folder / "bios",
        efi=folder / "efi",
        menu="# the menu of the medium\n",
        search="# finds it\n",
        disk_menu=folder / "menu",
        build="0123456789abcdef",
    )
    scratch = folder / "scratch"
    scratch.mkdir()

    def run(command: Sequence[str | os.PathLike[str]]) -> None:
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
        subprocess.run(command, check=True, capture_output=True, env=environment)

    path = folder / "orlop.iso"
    make_iso(boot, path, scratch, run, epoch=1700000000)
    return path


@dataclass(frozen=True, slots=True)
class LoopDisk:
    path: Path
    name: str

    @property
    def device(self) -> str:
        return f"/dev/{self.name}"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, 512 * MIB)
    with attached(path) as disk:
        yield disk


@contextmanager
def attached(path: Path, sector_bytes: int = 512) -> Iterator[LoopDisk]:
    """A loop device of *path*, with its partitions."""
    words = ["losetup", "--find", "--show", "--partscan", "-b", str(sector_bytes), str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop devices here: {done.stderr}")
    device = done.stdout.strip()
    try:
        yield LoopDisk(path, device.removeprefix("/dev/"))
    finally:
        subprocess.run(["partx", "--delete", device], check=False, capture_output=True)
        subprocess.run(["losetup", "--detach", device], check=True)


def install(
    medium: Path, disk: LoopDisk, kill_at: int = 0, opened: str = "", **more: object
) -> list[dict[str, Any]]:
    """What the worker says; nothing if it was killed. *opened*: the path of what is encrypted."""
    request = {
        "verb": "install",
        "build": BUILD,
        "disk": [disk.name],
        "config": "hostname: ship\n",
        "image": str(medium),
        "image_sha256": "",
        "append": "",
        "wipe": False,
        "keep_state": False,
        "dry_run": False,
        "unattended": False,
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(kill_at), *([opened] if opened else [])],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode == -signal.SIGKILL:
        return []
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def result(events: list[dict[str, Any]]) -> dict[str, Any]:
    found = events[-1].get("result")
    assert isinstance(found, dict), events[-1]
    return found


def check_installed(disk: LoopDisk, config: str) -> None:
    """The disk has everything, where it has to be."""
    assert disks.look(str(disk.path))[0] is Content.INSTALLED
    subprocess.run(["sfdisk", "--verify", str(disk.path)], check=True, capture_output=True)
    with disk.path.open("rb") as file:

        def read(offset: int, size: int) -> bytes:
            return os.pread(file.fileno(), size, offset)

        places = disks.own_partitions(read, 512)
        assert places is not None
        assert read(0, 432) == (BIOS_FOLDER / "boot_hybrid.img").read_bytes()[:432]
        first = int.from_bytes(read(432, 8), "little") * 512
        assert first == places["orlop-bios"][0]
        assert read(first, 500) == b"K" * 500
        start = places["orlop-esp"][0]

        def of_boot(offset: int, size: int) -> bytes:
            return read(start + offset, size)

        file_of = partial(fat_reader.read_file, of_boot)
        assert file_of("EFI/BOOT/BOOTX64.EFI") == EFI
        assert file_of("orlop/grub.cfg") == b"# the menu of a disk\n"
        record = boot_record.parse(file_of("orlop/boot-0.env"))
        assert record is not None
        assert record.default == record.recovery
        assert file_of(f"orlop/images/{record.default}.efi") == image()
        state = places["orlop-state"][0]
    at = f"{disk.path}?offset={state}"
    subprocess.run(["e2fsck", "-fn", at], check=True, capture_output=True)
    words = ["debugfs", "-R", "cat lib/orlop/config/versions/1/config.yml", at]
    shown = subprocess.run(words, check=True, capture_output=True, text=True)
    assert shown.stdout == config


def test_an_empty_disk(medium: Path, disk: LoopDisk) -> None:
    events = install(medium, disk)
    assert result(events)["version"] == "1.2"
    assert all(len(str(event["image_sha256"])) == 64 for event in events if "image_sha256" in event)
    check_installed(disk, "hostname: ship\n")
    refused = install(medium, disk)[-1]
    assert "keep-state" in refused["error"]
    check_installed(disk, "hostname: ship\n")


def test_extras_beside_the_medium_come_along(medium: Path, disk: LoopDisk, tmp_path: Path) -> None:
    tree, beside = tmp_path / "tree", tmp_path / "orlop-extras.erofs"
    tree.mkdir()
    (tree / "program").write_bytes(os.urandom(3 * MIB))
    shutil.copy(medium, tmp_path)
    iso = tmp_path / medium.name
    at = f"{disk.path}@@{plan_disk(512 * MIB).esp.start_bytes}"
    names: dict[str, list[str]] = {}
    for label in ("OTHER", "ORLOP_EXTRAS"):
        make = ["mkfs.erofs", "-L", label, str(beside), str(tree)]
        subprocess.run(make, check=True, capture_output=True)
        result(install(iso, disk, wipe=True))
        check_installed(disk, "hostname: ship\n")
        words = ["mdir", "-b", "-i", at, "::orlop/*.erofs"]
        found = subprocess.run(words, capture_output=True, text=True, check=False)
        names[label] = found.stdout.split()
    data = beside.read_bytes()
    name = f"::/orlop/extras-{sha256(data).hexdigest()[:16]}.erofs"
    assert names == {"OTHER": [], "ORLOP_EXTRAS": [name]}
    words = ["mtype", "-i", at, name]
    assert subprocess.run(words, capture_output=True, check=True).stdout == data


def test_a_dry_run_and_a_refusal_change_nothing(medium: Path, disk: LoopDisk) -> None:
    subprocess.run(["mke2fs", "-q", "-F", str(disk.path), "64m"], check=True)
    before = disk.path.read_bytes()
    assert f"there is {disk.device}: ext4 on it" in install(medium, disk)[-1]["error"]
    assert "SHA-256" in install(medium, disk, wipe=True, image_sha256="0" * 64)[-1]["error"]
    events = install(medium, disk, wipe=True, dry_run=True)
    assert any("state partition" in str(event.get("text")) for event in events)
    assert result(events)["dry_run"] is True
    assert disk.path.read_bytes() == before
    install(medium, disk, wipe=True)
    check_installed(disk, "hostname: ship\n")


def test_killed_at_every_write_and_begun_again(medium: Path, disk: LoopDisk) -> None:
    """It never looks whole before it is, and never needs --wipe."""
    killed = 0
    while not (events := install(medium, disk, kill_at=killed + 1)):
        killed += 1
        content, found, _ = disks.look(str(disk.path))
        # What was written last may have been what makes it whole: then it is.
        if content is Content.INSTALLED:
            break
        assert content in (Content.EMPTY, Content.UNFINISHED), (killed, found)
        with disk.path.open("rb") as file:
            assert not file.read(440).strip(b"\0"), killed
    assert killed >= 10
    if events:
        result(events)
    check_installed(disk, "hostname: ship\n")


def test_an_encrypted_state_killed_anywhere_and_begun_again(
    medium: Path, disk: LoopDisk, tmp_path: Path
) -> None:
    """A worker that was killed leaves it open: the next one closes it first."""
    opened, tree = tmp_path / "opened", tmp_path / "tree"
    tree.mkdir()
    (tree / "program").write_bytes(os.urandom(3 * MIB))
    shutil.copy(medium, tmp_path)
    iso = tmp_path / medium.name
    keys = {"key": b"correct horse", "recovery_key": b"the other one"}
    asked: dict[str, Any] = {name: b64encode(key).decode() for name, key in keys.items()}
    asked |= {"opened": str(opened), "encrypt": "passphrase"}
    assert "orlop-extras.erofs of its build" in install(iso, disk, **asked)[-1]["error"]
    assert disks.look(str(disk.path))[0] is Content.EMPTY
    make = ["mkfs.erofs", "-L", "ORLOP_EXTRAS", str(tmp_path / "orlop-extras.erofs"), str(tree)]
    subprocess.run(make, check=True, capture_output=True)
    killed = was_open = 0
    while not (events := install(iso, disk, kill_at=killed + 1, **asked)):
        killed += 1
        was_open += opened.exists()
        content = disks.look(str(disk.path))[0]
        if content is Content.INSTALLED:
            break
        assert content in (Content.EMPTY, Content.UNFINISHED), killed
    assert killed >= 12, events[-1]
    assert was_open
    if events:
        assert result(events)["encrypted"] == "passphrase"
    assert not opened.is_symlink()
    said = json.dumps(events)
    assert not any(str(asked[name]) in said or keys[name].decode() in said for name in keys)
    check_encrypted(disk, *keys.values())
    refused = install(iso, disk, opened=str(opened), keep_state=True)[-1]["error"]
    assert "is encrypted: what opens it is needed" in refused
    asked = {"opened": str(opened), "keep_state": True, "config": "hostname: other\n"}
    wrong: dict[str, Any] = {"key": b64encode(b"wrong").decode()}
    assert (
        "the key given does not open the state" in install(iso, disk, **asked, **wrong)[-1]["error"]
    )
    right: dict[str, Any] = {"key": b64encode(keys["recovery_key"]).decode()}
    assert result(install(iso, disk, **asked, **right))["kept_state"] is True
    check_encrypted(disk, *keys.values())


def check_encrypted(disk: LoopDisk, *keys: bytes) -> None:
    content, _, kind = disks.look(str(disk.path))
    assert (content, kind) == (Content.INSTALLED, "crypto_LUKS")
    start = plan_disk(512 * MIB).state.start_bytes
    header = disk.path.with_name("header")
    with disk.path.open("rb") as file:
        header.write_bytes(os.pread(file.fileno(), 20 * MIB, start))
    words = ["cryptsetup", "open", "--test-passphrase", "--key-file", "-", str(header)]
    for key in keys:
        subprocess.run(words, input=key, check=True, capture_output=True)


def test_a_state_is_kept_whenever_it_is_killed(medium: Path, disk: LoopDisk) -> None:
    result(install(medium, disk))
    killed = 0
    while not (events := install(medium, disk, kill_at=killed + 1, keep_state=True, config="")):
        killed += 1
        content, _, has_state = disks.look(str(disk.path))
        assert has_state, killed
        with disk.path.open("rb") as file:
            starts = bool(file.read(440).strip(b"\0"))
        # The first write has not begun, or the last has been done.
        assert not starts or content is Content.INSTALLED, killed
    assert killed >= 5
    assert result(events)["kept_state"] is True
    check_installed(disk, "hostname: ship\n")


def test_a_state_that_cannot_be_kept_leaves_the_disk_as_it_was(
    medium: Path, disk: LoopDisk
) -> None:
    result(install(medium, disk))
    with disk.path.open("rb") as file:
        places = disks.own_partitions(
            lambda offset, size: os.pread(file.fileno(), size, offset), 512
        )
    assert places is not None
    start, _ = places["orlop-state"]
    with disk.path.open("r+b") as file:  # the superblock stays, all else is gone
        file.seek(start + 4096)
        file.write(b"\xff" * (16 << 20))
    subprocess.run(["blockdev", "--flushbufs", disk.device], check=True)
    before = disk.path.read_bytes()
    events = install(medium, disk, keep_state=True)
    assert "error" in events[-1], events
    assert disk.path.read_bytes() == before


def test_releases_of_before_do_not_count_for_a_kept_state(medium: Path, disk: LoopDisk) -> None:
    """Its kernel parameters do."""
    result(install(medium, disk, append="console=ttyS9"))
    with disk.path.open("rb") as file:
        places = disks.own_partitions(
            lambda offset, size: os.pread(file.fileno(), size, offset), 512
        )
    assert places is not None
    at = f"{disk.path}?offset={places['orlop-state'][0]}"
    given = disk.path.with_name("given")
    given.write_text("{}")
    names = ("standing.json", "pending", "journal", "bad.json")
    words = ["mkdir lib/orlop/os", *(f"write {given} lib/orlop/os/{name}" for name in names)]
    script = "".join(f"{word}\n" for word in words)
    subprocess.run(["debugfs", "-w", "-f", "-", at], input=script, text=True, check=True)
    subprocess.run(["blockdev", "--flushbufs", disk.device], check=True)
    # Without a person that would be done again at each start from the network.
    assert "already" in install(medium, disk, keep_state=True, unattended=True)[-1]["error"]
    assert result(install(medium, disk, keep_state=True))["kept_state"] is True
    esp = f"{disk.path}@@{places['orlop-esp'][0]}"
    words = ["mtype", "-i", esp, "::orlop/append.env"]
    assert (
        b"\nappend=console=ttyS9\n" in subprocess.run(words, check=True, capture_output=True).stdout
    )
    words = ["debugfs", "-R", "ls -p lib/orlop/os", at]
    shown = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert [name for name in names if f"/{name}/" in shown] == ["bad.json"]
