"""What there is of a container in the kernel: its processes, cgroup and mount, and undoing them."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
from typing import TYPE_CHECKING

from orlop.engine.container import exit_notes, joining
from orlop.engine.runtime import rootfs
from orlop.lib import cgroup
from orlop.lib.errors import Internal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orlop.engine.container.layout import Layout
    from orlop.engine.container.record import Record
    from orlop.engine.host import Host
    from orlop.lib.children import Child, ExitStatus

log = logging.getLogger(__name__)

CGROUP_REMOVE_DELAYS_S = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)
"""Killed processes take a moment to leave their cgroup."""


class Confinement:
    """Of one container, empty when it does not run."""

    def __init__(self, host: Host, layout: Layout, record: Record) -> None:
        self._host = host
        self._layout = layout
        self._record = record
        self.child: Child | None = None
        """The container's init, until its end has been dealt with."""
        self._asked: tuple[int, int] | None = None

    @property
    def cgroup(self) -> Path:
        return self._host.cgroup_path(self._record.cgroup_name)

    def watch(self, child: Child, ended: Callable[[Child, ExitStatus], None]) -> None:
        """*child* is its init from now on; *ended* is called once, at its end."""
        self.child = child
        run_dir = self._host.settings.run_dir
        pid, ticks = self._record.pid, self._record.pid_started_ticks
        if self._host.records.durable:
            self._asked = pid, ticks
            try:
                exit_notes.ask(run_dir, pid, ticks)
            except OSError as error:
                log.warning("nobody is asked how process %d ends: %s, ignoring", pid, error)

        def told(status: ExitStatus) -> None:
            # It was another's child, or is no more since before this engine.
            known = None if status.known else exit_notes.read(run_dir, pid, ticks)
            ended(child, known or status)

        child.on_exit(told)

    def send(self, number: int) -> None:
        """Send a signal to the init; nothing if there is none.

        Raises:
            Internal: the kernel refused.
        """
        try:
            if self.child is not None:
                self.child.send_signal(number)
        except OSError as error:
            name = self._record.config.name
            raise Internal(f"cannot signal container {name}: {error}") from error

    def kill(self) -> None:
        """SIGKILL everything; never raises."""
        try:
            cgroup.kill(self.cgroup)
        except OSError as error:
            log.warning("cannot kill cgroup %s: %s, ignoring", self.cgroup, error)
        # Also when the init is not in its cgroup, which takes a broken start.
        if self.child is not None:
            self.child.send_signal(signal.SIGKILL)

    def freeze(self, *, frozen: bool) -> None:
        """Stop or resume everything.

        Raises:
            Internal: the kernel refused.
        """
        try:
            cgroup.freeze(self.cgroup, frozen=frozen)
        except OSError as error:
            name = self._record.config.name
            raise Internal(f"cannot freeze or thaw container {name}: {error}") from error

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed any of its processes for memory."""
        return cgroup.read_keyed(self.cgroup, "memory.events").get("oom_kill", 0) > 0

    def clear(self) -> None:
        """Before a start: what could not be taken away after the last end. Never raises."""
        self._host.runtime.forget(self._record.id)
        try:
            if self.cgroup.exists():
                cgroup.kill(self.cgroup)
                cgroup.remove(self.cgroup)
        except OSError as error:
            log.warning("cannot remove cgroup %s: %s, ignoring", self.cgroup, error)

    async def release(self) -> None:
        """End what still runs and undo what a start made; never raises."""
        if self._asked is not None:
            exit_notes.forget(self._host.settings.run_dir, *self._asked)
            self._asked = None
        # In a thread: the kernel waits for all processors before it lets go of a mount.
        await asyncio.to_thread(rootfs.unmount_rootfs, self._layout)
        try:
            joining.unmount_shm(self._layout)
        except OSError as error:
            log.warning("cannot unmount %s: %s, ignoring", self._layout.shm, error)
        self._host.images.unmount(self._record.id)
        self._host.runtime.forget(self._record.id)
        self._host.release_network(self._record.id)
        for delay_s in CGROUP_REMOVE_DELAYS_S:
            if delay_s:
                await asyncio.sleep(delay_s)
            self.kill()
            try:
                if cgroup.remove(self.cgroup):
                    return
            except OSError as error:
                log.warning("cannot remove cgroup %s: %s, ignoring", self.cgroup, error)
                return
        log.warning("processes in %s do not end, leaving it", self.cgroup)


def read_start_ticks(pid: int) -> int:
    """When process *pid* began, in ticks since boot; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            text = stream.read(4096)
    except OSError:
        return 0
    # The second field, the name, may hold anything, but it ends at the last parenthesis.
    fields = text[text.rfind(b")") + 1 :].split()
    return int(fields[19]) if len(fields) > 19 else 0


def is_same_process(record: Record) -> bool:
    """Whether the number of the container's init is not another process's by now."""
    return read_start_ticks(record.pid) == record.pid_started_ticks


@functools.cache
def read_boot_id() -> str:
    """What tells this boot of the kernel from every other; empty where /proc does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip()
    except OSError:
        return ""
