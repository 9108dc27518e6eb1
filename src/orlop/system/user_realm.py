"""What PID 1 prepares for the user's engine, and keeps over the engine's deaths.

The engine is a container and has a mount namespace of its own, which ends with it. What it mounts
for its containers must not: another engine has to find the roots of those that run. So they are
made below a mount of PID 1's that is shared with the engine's namespace, and appear here too.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from orlop.engine.container import exit_notes
from orlop.engine.runtime.confinement import read_start_ticks
from orlop.system.services import files
from orlop.system.storage import mounts

if TYPE_CHECKING:
    from orlop.lib.children import ExitStatus

log = logging.getLogger(__name__)

VAR_RUN = "/var/run"


def prepare(directory: str = files.USER_DIRECTORY, var_run: str = VAR_RUN) -> None:
    """Make *directory* and that of the configuration's mounts shared mounts, and *var_run* the link
    to /run that programs expect.

    May run twice, and does after a re-execution of PID 1.

    Raises:
        OSError: as mount(2).
    """
    mounts.share(directory)
    mounts.share(mounts.DIRECTORY)
    os.makedirs(os.path.join(directory, exit_notes.DIRECTORY), mode=0o700, exist_ok=True)
    try:
        os.symlink("../run", var_run)
    except FileExistsError:
        pass


def note_exit(pid: int, status: ExitStatus) -> None:
    """Keep how an orphan ended, if the user's engine wants to know: its containers are PID 1's
    children from the moment it is killed. Called before *pid* is reaped; never raises.
    """
    try:
        ticks = read_start_ticks(pid)
        exit_notes.answer(files.USER_DIRECTORY, pid, ticks, status)
    except OSError as error:
        log.warning("the end of process %d is not kept: %s, ignoring", pid, error)
