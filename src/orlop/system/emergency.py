"""A shell on the console when there is no other way left to look at the machine.

Used when the engine cannot start, or when the console's container cannot in recovery mode. It is
no container: a busybox from the console's image, on /dev/console, started again when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orlop.lib.children import Children

log = logging.getLogger(__name__)

SHELLS = (
    "/usr/lib/orlop/images/console/rootfs/usr/bin/busybox",
    "/usr/lib/orlop/images/console/rootfs/bin/busybox",
    "/usr/bin/busybox",
    "/bin/sh",
)
CONSOLE = "/dev/console"
PAUSE_S = 1.0
LOCK_TIMEOUT_S = 20.0

ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/usr/lib/orlop/images/console/rootfs/usr/bin",
    "HOME": "/root",
    "TERM": "linux",
    "PS1": "emergency # ",
}


async def keep_shell(children: Children, message: str, console: str = CONSOLE) -> None:
    """Show *message* and keep a shell on the console, for ever."""
    shell = next((path for path in SHELLS if os.path.exists(path)), None)
    if shell is None:
        log.error("there is no shell for an emergency either")
        return
    name = "sh" if shell.endswith("busybox") else os.path.basename(shell)
    while True:
        try:
            # O_NOCTTY here; the shell becomes a session leader and takes the terminal itself.
            descriptor = os.open(console, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                os.write(descriptor, message.replace("\n", "\r\n").encode())
                fds = {0: descriptor, 1: descriptor, 2: descriptor}
                if await _is_unlocked(children, fds):
                    argv = [shell, name] if shell.endswith("busybox") else [shell]
                    child = children.spawn(argv, env=ENVIRONMENT, fds=fds, new_session=True)
                    await child.wait()
            finally:
                os.close(descriptor)
        except OSError as error:
            log.warning("cannot start the emergency shell: %s", error)
        await asyncio.sleep(PAUSE_S)


async def _is_unlocked(children: Children, fds: dict[int, int]) -> bool:
    """Whether there is no lock, or somebody on the terminal *fds* has opened it."""
    from orlop.lib.blocking import run_bounded
    from orlop.system import recovery
    from orlop.system.config import configuration

    try:
        if not await run_bounded(recovery.lock_of_emergency, LOCK_TIMEOUT_S):
            return True
    except TimeoutError:
        log.warning("the disk with the lock of recovery mode hangs: the emergency shell is open")
        return True
    command = configuration.program("worker", "unlock")
    child = children.spawn(command, env=ENVIRONMENT, fds=fds, new_session=True)
    return (await child.wait()).ok
