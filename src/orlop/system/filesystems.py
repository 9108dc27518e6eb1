"""The kernel's pseudo file systems and the machine's memory file systems.

The plan is data, in the order of mounting; a mount that fails is reported and the boot goes on with
the rest, since a machine without /dev/mqueue is still a machine. Every mount has nosuid, nodev and
noexec unless its purpose is what the flag forbids.

/proc is mounted without `hidepid`: only PID 1 and the few containers that share its PID namespace,
all of them root, see it; other containers get a /proc of their own. bpffs, debugfs, tracefs and
binfmt_misc are left out: nothing here pins or traces, and each is attack surface.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass

from orlop.lib.mount import MountFlag, mount

_SAFE = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One mount. With *if_exists* a missing mount point means "not on this machine"."""

    fstype: str
    target: str
    flags: MountFlag = _SAFE
    data: str = ""
    if_exists: bool = False


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory of /run that later stages rely on."""

    path: str
    mode: int = 0o755


# Sizes are limits, not reservations. They leave a fifth of the memory when all of them are full,
# and inodes are bounded because each costs kernel memory that the size does not count.
FILE_SYSTEMS: tuple[FileSystem, ...] = (
    FileSystem("proc", "/proc"),
    FileSystem("sysfs", "/sys"),
    FileSystem(
        "devtmpfs",
        "/dev",
        MountFlag.NOSUID | MountFlag.NOEXEC,  # its purpose is devices
        "mode=0755,size=4m,nr_inodes=64k",
    ),
    FileSystem(
        "devpts",
        "/dev/pts",
        MountFlag.NOSUID | MountFlag.NOEXEC,
        "gid=5,mode=0620,ptmxmode=0666,max=4096",
    ),
    FileSystem("tmpfs", "/dev/shm", data="mode=1777,size=10%,nr_inodes=64k"),
    FileSystem("mqueue", "/dev/mqueue"),
    # noexec holds for what is started from /run itself. Overlays whose upper directory is here have
    # mount flags of their own.
    FileSystem("tmpfs", "/run", data="mode=0755,size=20%,nr_inodes=256k"),
    FileSystem("tmpfs", "/tmp", data="mode=1777,size=10%,nr_inodes=64k"),
    FileSystem("cgroup2", "/sys/fs/cgroup", data="nsdelegate,memory_recursiveprot"),
    FileSystem("securityfs", "/sys/kernel/security", if_exists=True),
    FileSystem("efivarfs", "/sys/firmware/efi/efivars", if_exists=True),
)

VOLATILE_STATE = FileSystem("tmpfs", "/var", data="mode=0755,size=40%,nr_inodes=256k")
"""What is mounted at /var when there is no state partition."""

DIRECTORIES: tuple[Directory, ...] = (
    Directory("/dev/pts"),
    Directory("/dev/shm", 0o1777),
    Directory("/dev/mqueue"),
    Directory("/run/orlop"),
    Directory("/run/orlop/etc"),
    Directory("/run/orlop/config", 0o700),
    Directory("/run/orlop/engine", 0o700),
    Directory("/run/orlop/docker"),
    Directory("/run/orlop/user", 0o711),
    Directory("/run/orlop/syslog"),
)

# devtmpfs has no such links, and programs expect them. Source: Documentation/filesystems/proc.rst.
DEVICE_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("fd/0", "/dev/stdin"),
    ("fd/1", "/dev/stdout"),
    ("fd/2", "/dev/stderr"),
)


def mount_file_systems(plan: tuple[FileSystem, ...] = FILE_SYSTEMS) -> list[str]:
    """Mount *plan* in order, with the directories it needs; returns what failed, in words."""
    failures: list[str] = []
    for entry in plan:
        failures += _mount(entry)
    for directory in DIRECTORIES:
        try:
            make_directory(directory)
        except OSError as error:
            failures.append(f"cannot make {directory.path}: {error.strerror}")
    failures += _make_links()
    return failures


def mount_one(entry: FileSystem) -> None:
    """Mount *entry*, making its mount point where that is possible.

    Raises:
        OSError: as mount(2).
    """
    if not os.path.isdir(entry.target):
        os.makedirs(entry.target, exist_ok=True)
    mount(entry.fstype, entry.target, entry.fstype, entry.flags, entry.data)


def is_mount_point(path: str) -> bool:
    """Whether another file system begins at *path*; works before /proc is there."""
    try:
        return os.lstat(path).st_dev != os.lstat(os.path.dirname(path) or "/").st_dev
    except OSError:
        return False


def make_directory(directory: Directory) -> None:
    """Ensure the directory exists with its mode; may run twice."""
    try:
        os.mkdir(directory.path)
    except FileExistsError:
        pass
    os.chmod(directory.path, directory.mode)


def _mount(entry: FileSystem) -> list[str]:
    if is_mount_point(entry.target):
        return []  # the initial root mounted it, or a machine in a test has it
    if entry.if_exists and not os.path.isdir(entry.target):
        return []
    try:
        mount_one(entry)
    except OSError as error:
        if error.errno == errno.EBUSY or (entry.if_exists and error.errno == errno.ENODEV):
            return []
        return [f"cannot mount {entry.fstype} at {entry.target}: {error.strerror}"]
    return []


def _make_links() -> list[str]:
    failures: list[str] = []
    for target, link in DEVICE_LINKS:
        try:
            os.symlink(target, link)
        except FileExistsError:
            pass
        except OSError as error:
            failures.append(f"cannot link {link}: {error.strerror}")
    return failures
