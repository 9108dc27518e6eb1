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
                child = children.spawn(
                    [shell, name] if shell.endswith("busybox") else [shell],
                    env=ENVIRONMENT,
                    fds={0: descriptor, 1: descriptor, 2: descriptor},
                    new_session=True,
                )
            finally:
                os.close(descriptor)
            await child.wait()
        except OSError as error:
            log.warning("cannot start the emergency shell: %s", error)
        await asyncio.sleep(PAUSE_S)
