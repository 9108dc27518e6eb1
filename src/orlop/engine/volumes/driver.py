"""The options of the volume driver `local`: mounting a file system as a volume.

`type`, `device` and `o` are what mount(8) takes: `nfs`, `tmpfs`, `bind` (as `type=none,o=bind`), a
block device … Mounting may wait for a server for long, or for ever, so a process of its own does it
(`engine.volumes.mount_worker`).
"""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

from orlop.engine.worker_process import worker_argv
from orlop.lib import mount
from orlop.lib.errors import DeadlineExceeded, Internal, InvalidArgument, Unavailable
from orlop.lib.mount import MountFlag
from orlop.lib.units import parse_size_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orlop.lib.children import Children

MOUNT_TIMEOUT_S = 120.0

_REQUIRED = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_FLAGS = {
    "ro": MountFlag.RDONLY,
    "nosuid": MountFlag.NOSUID,
    "nodev": MountFlag.NODEV,
    "noexec": MountFlag.NOEXEC,
    "sync": MountFlag.SYNCHRONOUS,
    "noatime": MountFlag.NOATIME,
    "nodiratime": MountFlag.NODIRATIME,
    "relatime": MountFlag.RELATIME,
    "strictatime": MountFlag.STRICTATIME,
    "bind": MountFlag.BIND,
    "rbind": MountFlag.BIND | MountFlag.REC,
}
_CLEARED = {
    "rw": MountFlag.RDONLY,
    "suid": MountFlag.NOSUID,
    "dev": MountFlag.NODEV,
    "exec": MountFlag.NOEXEC,
    "async": MountFlag.SYNCHRONOUS,
    "atime": MountFlag.NOATIME,
    "diratime": MountFlag.NODIRATIME,
    "defaults": MountFlag(0),
    # mount(8)'s own words, for fstab.
    "_netdev": MountFlag(0),
    "nofail": MountFlag(0),
}
_PROPAGATION = {
    "private": MountFlag.PRIVATE,
    "rprivate": MountFlag.PRIVATE | MountFlag.REC,
    "slave": MountFlag.SLAVE,
    "rslave": MountFlag.SLAVE | MountFlag.REC,
    "shared": MountFlag.SHARED,
    "rshared": MountFlag.SHARED | MountFlag.REC,
}


def check_options(options: Mapping[str, str]) -> None:
    """Refuse options that the driver does not have, or that need others.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    for key in options:
        if key not in ("type", "o", "device", "size"):
            raise InvalidArgument(f'invalid option: "{key[:40]}"')
    if options.get("size") and parse_size_bytes(options["size"]) > 0:
        raise InvalidArgument("quota size requested but no quota support")
    for key, needed in _REQUIRED.items():
        missing = [other for other in needed if other not in options]
        if key in options and missing:
            raise InvalidArgument(f'missing required option: "{missing[0]}"')


def parse_mount_options(text: str) -> tuple[MountFlag, MountFlag, str]:
    """Flags, propagation and what is the file system's own, from `ro,bind,size=1m` …"""
    flags, propagation, data = MountFlag(0), MountFlag(0), []
    for word in filter(None, text.split(",")):
        if word in _FLAGS:
            flags |= _FLAGS[word]
        elif word in _CLEARED:
            flags &= ~_CLEARED[word]
        elif word in _PROPAGATION:
            propagation = _PROPAGATION[word]
        else:
            data.append(word)
    return flags, propagation, ",".join(data)


async def mount_volume(children: Children, options: Mapping[str, str], target: Path) -> None:
    """Mount what *options* say at *target*.

    Raises:
        Internal: the kernel's reason, without passwords. Unavailable: no answer in time.
    """
    if "device" not in options:
        return
    # Not as an argument of the command: options may have passwords.
    memory = os.memfd_create("volume options", os.MFD_CLOEXEC)
    try:
        os.pwrite(memory, json.dumps(dict(options)).encode(), 0)
        argv = worker_argv("volume-mount", os.fspath(target))
        status, output = await children.run(argv, stdin_fd=memory, timeout_s=MOUNT_TIMEOUT_S)
    except DeadlineExceeded:
        reason = f"no answer in {MOUNT_TIMEOUT_S:g} s"
        raise Unavailable(f"failed to mount local volume: {reason}") from None
    finally:
        os.close(memory)
    if not status.ok:
        device, kind = options["device"], options.get("type", "")
        reason = output.decode(errors="replace").strip()[-500:] or "the worker failed"
        raise Internal(
            f"error while mounting volume '{target}': failed to mount local volume: "
            f"mount {device}:{target}, type: {kind}: {reason}"
        )


def mount_options(options: Mapping[str, str], target: Path) -> None:
    """In the worker: as `mount_volume`.

    Raises:
        OSError: the kernel's reason.
    """
    kind, device = options.get("type", ""), options["device"]
    flags, propagation, data = parse_mount_options(options.get("o", ""))
    if kind in ("nfs", "nfs4", "cifs"):
        data = _with_address(data)
    if flags & MountFlag.BIND:
        mount.mount(device, target, None, flags & (MountFlag.BIND | MountFlag.REC))
        rest = flags & ~MountFlag.REC
        if rest != MountFlag.BIND:
            mount.mount(None, target, None, rest | MountFlag.REMOUNT)
    else:
        mount.mount(device, target, kind, flags, data or None)
    if propagation:
        mount.mount(None, target, None, propagation)


def _with_address(data: str) -> str:
    """The kernel wants a number in `addr=`; people write names."""
    words = data.split(",")
    for index, word in enumerate(words):
        key, _, name = word.partition("=")
        if key != "addr" or not name:
            continue
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError as error:
            reason = "error resolving passed in network volume address"
            raise OSError(error.errno, f"{reason}: {error.strerror}") from error
        words[index] = f"addr={found[0][4][0]}"
    return ",".join(words)
