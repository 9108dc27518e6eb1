"""What is in the root file system, looked at from outside."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.engine.runtime import capabilities
from orlop.engine.runtime.seccomp import read_profile, resolve
from tests.vm.lab import Lab

_HEADER_BYTES = 110
NOBODY_NEEDS = ("apt", "apt-get", "dpkg", "rpm", "systemd", "systemctl", "su", "sudo", "mount.nfs")


def cpio_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of a `newc` archive."""
    position = 0
    while True:
        header = data[position : position + _HEADER_BYTES]
        assert header[:6] == b"070701", "the initrd is an uncompressed cpio"
        size, name_size = int(header[54:62], 16), int(header[94:102], 16)
        name_at = position + _HEADER_BYTES
        name = data[name_at : name_at + name_size - 1].decode()
        if name == "TRAILER!!!":
            return
        content_at = (name_at + name_size + 3) & ~3
        yield name, data[content_at : content_at + size]
        position = (content_at + size + 3) & ~3


@pytest.fixture(scope="module")
def root(lab: Lab) -> Path:
    """The system's root, unpacked."""
    members = {
        name.lstrip("./"): content
        for name, content in cpio_members((lab.out / "initrd").read_bytes())
    }
    image, target = lab.scratch / "os.erofs", lab.scratch / "root"
    image.write_bytes(members["os.erofs"])
    subprocess.run(["fsck.erofs", f"--extract={target}", image], check=True, capture_output=True)
    return target


def entries(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder, name)
            yield path, path.lstat()


def test_nothing_is_set_uid(root: Path) -> None:
    special = stat.S_ISUID | stat.S_ISGID
    assert [path for path, found in entries(root) if found.st_mode & special] == []


def test_no_file_is_writable_by_others(root: Path) -> None:
    found = [
        path
        for path, entry in entries(root)
        if entry.st_mode & stat.S_IWOTH
        and not stat.S_ISLNK(entry.st_mode)
        and not entry.st_mode & stat.S_ISVTX
    ]
    assert found == []


def test_no_file_carries_capabilities(root: Path) -> None:
    found = [
        path
        for path, entry in entries(root)
        if stat.S_ISREG(entry.st_mode) and "security.capability" in os.listxattr(path)
    ]
    assert found == []


def test_no_package_manager_and_no_systemd(root: Path) -> None:
    # sudo is the orlop command, which asks a service that knows who may: nothing set-uid.
    ours = {path for path, _ in entries(root) if path.name == "sudo" and path.is_symlink()}
    assert {os.readlink(path) for path in ours} <= {"orlop"}
    names = {path.name for path, _ in entries(root) if path not in ours}
    assert names.isdisjoint(NOBODY_NEEDS)


def test_no_python_sources(root: Path) -> None:
    assert [path for path, _ in entries(root) if path.suffix == ".py"] == []


def test_filters_keep_containers_in_their_namespaces(root: Path) -> None:
    """In a user namespace of its own a container may mount, which most escapes start with."""
    profiles = sorted(root.rglob("containers/seccomp.json"))
    assert len(profiles) == 2  # PID 1's and the user's engine's
    for profile in profiles:
        found = resolve(read_profile(profile), "x86_64", capabilities.DEFAULT)
        rules = [rule for rule in found["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
        allowed = {name for rule in rules if not rule.get("args") for name in rule["names"]}
        assert {"read", "execve", "futex_waitv"} <= allowed
        assert not allowed & {"clone", "unshare", "setns", "mount", "fsmount", "keyctl", "reboot"}
