"""NFS in `mounts`: shares of servers, mounted when the network is there and the server answers.

The kernel does the work; a worker process resolves the server's name. Of the versions of the
protocol the newest counts that the server speaks. Locks of version 3 are this machine's own: for
others there is the catalogue's nfs-client. Source: Linux 6.12 fs/nfs/fs_context.c.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine.volumes.driver import mount_volume
from orlop.lib.blocking import run_bounded
from orlop.lib.errors import OrlopError
from orlop.system.storage import extras

if TYPE_CHECKING:
    from orlop.lib.children import Children

MODULES = ("nfs", "nfsv3", "nfsv4")
VERSIONS = {"nfs": ("4.2", "4.1", "4.0", "3"), "nfs4": ("4.2", "4.1", "4.0")}
TIMEOUT_S = 20.0
_UNKNOWN_VERSION = "Protocol not supported"
_OF_MOUNT_NFS = ("bg", "fg", "retry", "_netdev", "defaults", "auto", "nofail")
"""Options that are for the program that others mount with."""


def attempts(device: str, fstype: str, options: str) -> list[dict[str, str]]:
    """What to ask the kernel for, one after the other; pure. *device* is SERVER:/PATH."""
    host = device.rpartition(":/")[0]
    address = host.removeprefix("[").removesuffix("]")
    words = [word for word in options.split(",") if word.partition("=")[0] not in _OF_MOUNT_NFS]
    words += ["nosuid", "nodev", f"addr={address}"]
    named = any(word.partition("=")[0] in ("vers", "nfsvers", "minorversion") for word in words)
    found = []
    for version in ("",) if named else VERSIONS[fstype]:
        more = [f"vers={version}"] if version else []
        is_old = version == "3" or any(w in ("vers=3", "nfsvers=3") for w in words)
        if is_old and "lock" not in words and "nolock" not in words:
            more.append("nolock")
        found.append({"type": "nfs", "device": device, "o": ",".join([*words, *more])})
    return found


async def mount_share(
    device: str, target: str, fstype: str, options: str, children: Children
) -> None:
    """Mount the share *device* at *target*.

    Raises:
        OrlopError: the server, the kernel or the network does not let it.
    """
    await extras.load_modules(children, MODULES)
    await run_bounded(partial(os.makedirs, target, exist_ok=True), TIMEOUT_S)
    for request in (found := attempts(device, fstype, options)):
        try:
            await mount_volume(children, request, Path(target))
            break
        except OrlopError as error:
            if _UNKNOWN_VERSION not in str(error) or request is found[-1]:
                raise OrlopError(str(error).rpartition(f"type: {request['type']}: ")[2]) from error
