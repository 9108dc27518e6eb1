"""Seed disks made by the programs that people make them with, and the worker that reads one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orlop.lib import loop
from orlop.system.cloud.seed_disk import read_seed
from orlop.wire.cloud.answer import decode
from tests.unit.wire.cloud.udf_image import CUSTOM_DATA, IMAGE

pytestmark = pytest.mark.engine

SOURCE = Path(__file__).parents[3] / "src"


def image(path: Path, megabytes: int, *argv: str) -> Path:
    with path.open("wb") as stream:
        stream.truncate(megabytes << 20)
    subprocess.run([*argv, str(path)], check=True, capture_output=True)
    return path


@pytest.mark.parametrize("label", ["cidata", "CIDATA"])
@pytest.mark.parametrize(("bits", "megabytes"), [("12", 2), ("16", 32), ("32", 64)])
def test_vfat(tmp_path: Path, label: str, bits: str, megabytes: int) -> None:
    path = image(tmp_path / "i", megabytes, "mkfs.fat", "-F", bits, "-n", label)
    assert read_seed(str(path)) == ("nocloud", "vfat", str(path))


def test_vfat_whose_boot_sector_knows_no_label(tmp_path: Path) -> None:
    path = image(tmp_path / "i", 2, "mkfs.fat", "-F", "12", "-n", "CONFIG-2")
    data = path.read_bytes()
    path.write_bytes(data[:43] + b"NO NAME    " + data[54:])
    assert read_seed(str(path)) == ("configdrive", "vfat", str(path))


@pytest.mark.parametrize(("label", "source"), [("cidata", "nocloud"), ("config-2", "configdrive")])
def test_iso(tmp_path: Path, label: str, source: str) -> None:
    (tmp_path / "tree").mkdir()
    path = tmp_path / "i.iso"
    subprocess.run(
        [
            "xorriso",
            "-as",
            "mkisofs",
            "-quiet",
            "-J",
            "-R",
            "-V",
            label,
            "-o",
            path,
            tmp_path / "tree",
        ],
        check=True,
        capture_output=True,
    )
    assert read_seed(str(path)) == (source, "iso9660", str(path))


def test_other_disks(tmp_path: Path) -> None:
    assert read_seed(str(image(tmp_path / "a", 8, "mke2fs", "-q", "-F", "-L", "data"))) is None
    assert read_seed(str(image(tmp_path / "b", 2, "mkfs.fat", "-n", "DATA"))) is None
    assert read_seed(str(image(tmp_path / "c", 1, "true"))) is None
    assert read_seed(str(tmp_path / "none")) is None
    assert read_seed("/dev/null") is None


def populated(tmp_path: Path, label: str, files: dict[str, str]) -> Path:
    tree = tmp_path / "tree"
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("->"):
            path.symlink_to(content[2:])
        else:
            path.write_text(content)
    return image(tmp_path / "i", 8, "mke2fs", "-q", "-F", "-L", label, "-d", str(tree))


def read_by_worker(path: Path, source: str) -> "subprocess.CompletedProcess[bytes]":
    """The worker as PID 1 starts it, on a loop device of *path*, with a /run of its own."""
    device, descriptor = loop.attach(path)
    try:
        argv = [sys.executable, "-m", "orlop", "worker", "seed", source, "ext4", device]
        mounts = 'mount -t tmpfs none /run && exec "$@"'
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", mounts, "sh", *argv],
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )
    finally:
        os.close(descriptor)


@pytest.mark.root
def test_the_worker_reads_nocloud(tmp_path: Path) -> None:
    path = populated(
        tmp_path,
        "cidata",
        {"meta-data": "instance-id: 7\nlocal-hostname: ship\n", "user-data": "#cloud-config\n"},
    )
    done = read_by_worker(path, "nocloud")
    assert done.returncode == 0, done.stderr.decode()
    answer = decode(done.stdout)
    assert (answer.source, answer.instance_id, answer.hostname) == ("nocloud", "7", "ship")
    assert answer.user_data == b"#cloud-config\n"
    assert answer.place.startswith("/dev/loop")


@pytest.mark.root
def test_the_worker_reads_a_config_drive(tmp_path: Path) -> None:
    data = json.dumps({"uuid": "7", "name": "ship"})
    path = populated(tmp_path, "config-2", {"openstack/latest/meta_data.json": data})
    answer = decode(read_by_worker(path, "configdrive").stdout)
    assert (answer.source, answer.instance_id, answer.hostname) == ("configdrive", "7", "ship")


@pytest.mark.root
def test_the_worker_reads_azures_disk(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(IMAGE)
    argv = [sys.executable, "-m", "orlop", "worker", "seed", "azure", "udf", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(argv, capture_output=True, check=True, env=environment)
    answer = decode(done.stdout)
    assert (answer.source, answer.hostname, answer.user_data) == ("azure", "ship", CUSTOM_DATA)


@pytest.mark.root
def test_no_link_leads_out_of_the_disk(tmp_path: Path) -> None:
    path = populated(
        tmp_path,
        "cidata",
        {"user-data": "->/etc/passwd", "meta-data": "->../../../../etc/hostname"},
    )
    answer = decode(read_by_worker(path, "nocloud").stdout)
    assert answer.user_data == b""
    assert answer.hostname == ""


@pytest.mark.root
def test_a_config_drive_without_metadata_says_so(tmp_path: Path) -> None:
    path = populated(tmp_path, "config-2", {"openstack/latest/user_data": "x"})
    answer = decode(read_by_worker(path, "configdrive").stdout)
    assert answer.source == ""
    assert "meta_data.json is not JSON" in answer.warnings[0]


@pytest.mark.root
def test_a_damaged_disk_ends_the_worker_and_nothing_else(tmp_path: Path) -> None:
    path = populated(tmp_path, "cidata", {"user-data": "x"})
    data = bytearray(path.read_bytes())
    data[4096 : 1 << 20] = bytes((1 << 20) - 4096)
    path.write_bytes(data)
    done = read_by_worker(path, "nocloud")
    assert done.returncode != 0 or decode(done.stdout).user_data == b""


def test_python_looks_for_its_modules_where_it_did_before(tmp_path: Path) -> None:
    """What is on the disk is read with the disk as the root, and no code is loaded from it."""
    (tmp_path / "meta-data").write_text("x")
    (tmp_path / "user-data").symlink_to("/meta-data")
    program = (
        "import sys; from orlop.system.cloud.seed_worker import read_below;"
        "print(read_below(sys.argv[1], ('meta-data', 'user-data', 'none')));"
        "import colorsys; print(colorsys.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        check=True,
        capture_output=True,
        text=True,
    )
    first, second = done.stdout.splitlines()
    assert first == "[b'x', b'', b'']"
    assert os.path.exists(second)
