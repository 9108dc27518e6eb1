"""The seed worker: reads a seed disk's files, then makes an answer of them without any privilege.

A short-lived process of PID 1: `worker seed SOURCE FSTYPE DEVICE`. In a mount namespace of its own
it mounts the disk read-only, makes it its root so that no link leads out of it, and reads the few
files it knows up to a limit; then it leaves the disk, on which Python would look for its modules,
gives up everything as the configuration worker does, and only then looks at the bytes. stdout gets
the answer, in the form of `wire.cloud.answer`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError
from orlop.lib.mount import MountFlag, mount
from orlop.lib.small_file import read_regular
from orlop.system.config.worker import drop_privileges
from orlop.system.machine_id import machine_id
from orlop.wire.cloud import azure_disk, nocloud, openstack
from orlop.wire.cloud.answer import MAX_USER_DATA_BYTES, Answer, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

MOUNT_POINT = "/run/orlop/seed/disk"
_FLAGS = MountFlag.RDONLY | MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC
_OPTIONS = {"ext4": "noload", "xfs": "norecovery"}
"""A read-only mount shall not write a journal back either."""

FILES = {
    "nocloud": (nocloud.META_DATA, nocloud.USER_DATA, nocloud.NETWORK_CONFIG),
    "configdrive": tuple(
        f"openstack/latest/{name}"
        for name in (openstack.META_DATA, openstack.USER_DATA, openstack.NETWORK_DATA)
    ),
}
UDF = "udf"
SYS_NET = "/sys/class/net"


def main(argv: list[str]) -> int:
    """Read, drop, parse, answer."""
    source, fstype, device = argv
    machine = machine_id()
    if fstype == UDF:
        answer = read_udf(device, machine)
    else:
        answer = read_mounted(source, fstype, device, machine)
    data = encode(answer)
    while data:
        data = data[os.write(1, data) :]
    return 0


def read_udf(device: str, machine: str) -> Answer:
    """The answer on Azure's disk, which is read as it is: our kernel does not know UDF."""
    with open(device, "rb") as stream:
        image = stream.read(azure_disk.MAX_DISK_BYTES)
    drop_privileges()
    try:
        return replace(azure_disk.parse(image, machine), machine=machine, place=device)
    except OrlopError as error:
        return Answer("", warnings=(f"{device}: {error}",), place=device)


def read_mounted(source: str, fstype: str, device: str, machine: str) -> Answer:
    """The answer in the files of a disk that the kernel mounts."""
    names = interface_names()
    os.unshare(os.CLONE_NEWNS)
    mount(None, "/", None, MountFlag.REC | MountFlag.PRIVATE)
    os.makedirs(MOUNT_POINT, mode=0o700, exist_ok=True)
    mount(device, MOUNT_POINT, fstype, _FLAGS, _OPTIONS.get(fstype))
    files = read_below(MOUNT_POINT, FILES[source])
    drop_privileges()
    return parse(source, files, names, machine, device)


def read_below(root: str, names: Sequence[str]) -> list[bytes]:
    """The files *names* as they are found when *root* is the root, which it is only meanwhile."""
    before = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chroot(root)
        os.chdir("/")
        return [read_file(name) for name in names]
    finally:
        os.fchdir(before)
        os.chroot(".")
        os.close(before)


def interface_names(directory: str = SYS_NET) -> dict[str, str]:
    """Names of the machine's interfaces by hardware address."""
    found: dict[str, str] = {}
    for name in sorted(os.listdir(directory)):
        try:
            with open(f"{directory}/{name}/address", encoding="ascii") as stream:
                found.setdefault(stream.read().strip().lower(), name)
        except (OSError, UnicodeDecodeError):
            continue  # gone, or something with an address of another kind
    return found


def read_file(path: str) -> bytes:
    """A file of the seed; empty if there is none. One byte too many shows that it is too long."""
    try:
        return read_regular(path, MAX_USER_DATA_BYTES + 1)
    except OSError:
        return b""


def parse(
    source: str, files: list[bytes], interfaces: dict[str, str], machine: str, device: str
) -> Answer:
    """The answer of the seed with *files*, in the order of `FILES`; pure."""
    meta_data, user_data, network = files
    try:
        if source == "nocloud":
            found = nocloud.parse(meta_data, user_data, network, interfaces)
        else:
            found = openstack.parse(source, meta_data, user_data, network, interfaces)
    except OrlopError as error:
        return Answer("", warnings=(f"{source} on {device}: {error}",), place=device)
    return replace(found, machine=machine, place=device)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
