"""Taking over a container that an earlier engine left: running, about to restart, or ended."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from orlop.engine.container.state import State
from orlop.engine.runtime.confinement import is_same_process, read_boot_id
from orlop.engine.volumes import mounts
from orlop.lib.children import UNKNOWN_STATUS, Child
from orlop.wire.compose_model import RestartMode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.engine.container.core import Core
    from orlop.engine.container.end import Ending
    from orlop.engine.container.health import HealthWatch

log = logging.getLogger(__name__)


def take_over(
    core: Core, ending: Ending, health: HealthWatch, descriptors: Mapping[str, int]
) -> None:
    """Before the owner task runs; *descriptors* are those kept over `execve`.

    If its process is gone, or the number now belongs to another, the container counts as ended
    with an unknown status.
    """
    record, host = core.record, core.host
    if record.state is State.RESTARTING:
        core.owner.later(0.0, ending.restarts.now)
        return
    if not record.state.is_up:
        return
    same = record.boot_id in ("", read_boot_id())
    if "master" in descriptors:
        core.io.attach_terminal(descriptors["master"])
    elif same and not core.config.tty:
        _reopen_pipes(core)
    if "stdin" in descriptors:
        core.io.adopt_stdin(descriptors["stdin"])
    for name in mounts.names_of(core.config):
        host.volumes.adopt(name, record.id)
    core.started_s = time.monotonic() - max(time.time_ns() - record.started_ns, 0) / 1e9
    child = _adopt_process(core) if same else None
    if child is None:
        if host.records.durable and core.config.restart.mode is RestartMode.ALWAYS:
            record.manually_stopped = False  # a start of the engine starts it
        child = Child(record.pid)
        child.finish(UNKNOWN_STATUS)
    ending.watch(child)
    core.io.start()
    if child.status is None and record.state is State.RUNNING:
        health.begin(record.health)


def _adopt_process(core: Core) -> Child | None:
    """Its init, watched or known to have ended; None if there is no such process any more."""
    try:
        child = core.host.children.adopt(core.record.pid)
    except OSError:
        return None
    return child if child.status is not None or is_same_process(core.record) else None


def _reopen_pipes(core: Core) -> None:
    try:
        core.io.reopen(stdin=core.config.stdin_open)
    except OSError as error:
        log.warning("the output of container %s is lost: %s, ignoring", core.name, error)
