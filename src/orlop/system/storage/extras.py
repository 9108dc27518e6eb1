"""`orlop-extras.erofs`: programs and kernel modules for storage that few have, beside the ISO.

Looked for only when something needs it (`system.storage.extras_media` says where). Only the one
file of the same build is taken: the system holds its digest. It is mounted read-only at
`MOUNT_POINT`. The kernel loads modules from the system alone (LoadPin); that is lifted while PID 1
has modules of the extras loaded.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib.errors import Conflict, OrlopError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop.lib.children import Children

log = logging.getLogger(__name__)

MOUNT_POINT = "/run/orlop/extras"
LOADPIN = "/proc/sys/kernel/loadpin/enforce"
LIBRARIES = f"{MOUNT_POINT}/usr/lib/x86_64-linux-gnu"
SYS_MODULE = "/sys/module"
MODLOAD = "/usr/sbin/modload"
LOAD_TIMEOUT_S = 60.0

ENVIRONMENT: Mapping[str, str] = {
    "PATH": f"{MOUNT_POINT}/usr/sbin:{MOUNT_POINT}/usr/bin",
    "LD_LIBRARY_PATH": LIBRARIES,
    "LANG": "C.UTF-8",
    "DM_DISABLE_UDEV": "1",  # nobody answers for a udev that is not there
    "MDADM_NO_UDEV": "1",
    "LVM_SYSTEM_DIR": "",  # it would make /etc/lvm
}

_SILENT: Mapping[tuple[str, int], str] = {("cryptsetup", 2): "this key does not open it"}
"""Of a program and its exit status: why, where it does not say so itself."""

_looking = asyncio.Lock()
_lifted = 0
"""How many `allowed` blocks there are at the moment."""


def is_mounted(mount_point: str = MOUNT_POINT) -> bool:
    """Whether there are extras."""
    return os.path.ismount(mount_point)


def in_use() -> str:
    """The digest of the extras that are mounted; empty if none are."""
    if not is_mounted():
        return ""
    from orlop.system.storage import extras_media

    return extras_media.Reader().digest


async def ensure() -> None:
    """Have the extras mounted.

    Raises:
        Conflict: they are on no disk, or they are those of another build.
    """
    async with _looking:
        if not is_mounted():
            from orlop.system.storage import extras_media

            source = await extras_media.find_and_mount()
            log.info("extras are on %s", source)


async def load_modules(children: Children, names: Sequence[str]) -> None:
    """Have the kernel load modules of the extras.

    Raises:
        OrlopError: it refuses one, or there are no extras.
    """
    await ensure()
    with allowed():
        for name in (name for name in names if not os.path.isdir(f"{SYS_MODULE}/{name}")):
            status, output = await children.run([MODLOAD, name], timeout_s=LOAD_TIMEOUT_S)
            if not status.ok:
                text = " ".join(output.decode(errors="replace").split())
                raise OrlopError(f"the kernel does not load {name}: {text}")


@contextmanager
def allowed() -> Iterator[None]:
    """Let the kernel load modules of the extras during a `with` block."""
    global _lifted
    _lifted += 1
    _pin(on=False)
    try:
        yield
    finally:
        _lifted -= 1
        _pin(on=not _lifted)


def _pin(*, on: bool) -> None:
    try:
        Path(LOADPIN).write_text("1" if on else "0", encoding="ascii")
    except OSError as error:
        log.debug("LoadPin stays as it is: %s", error.strerror)


def program(name: str) -> str:
    """The path of one of its programs.

    Raises:
        Conflict: it is not there.
    """
    for directory in ("usr/sbin", "usr/bin"):
        path = f"{MOUNT_POINT}/{directory}/{name}"
        if os.path.exists(path):
            return path
    raise Conflict(f"{name} is in orlop-extras.erofs, which is not here")


async def run(children: Children, name: str, *arguments: str, timeout_s: float = 60.0) -> bytes:
    """Run a program of the extras; what it wrote.

    Raises:
        OrlopError: it failed, with its last line.
    """
    command = [program(name), *arguments]
    status, output = await children.run(command, env=ENVIRONMENT, timeout_s=timeout_s)
    if not status.ok:
        lines = output.decode(errors="replace").strip().splitlines()[-1:]
        reason = " ".join(lines) or _SILENT.get((name, status.code), f"status {status.code}")
        raise OrlopError(f"{name}: {reason}")
    return output
