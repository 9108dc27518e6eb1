"""Keeps the pipes of the user's containers open while no engine does.

The kernel drops what is in a pipe when nobody has it open any more. A container's own end closes
when it ends, its engine's when that is killed; what the container wrote in between would be lost.
So PID 1 opens all of them at the moment the engine dies, and lets go when the next one has had
the time to open them itself. While an engine runs this costs one descriptor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
from typing import TYPE_CHECKING

from orlop.lib.errors import NotFound

if TYPE_CHECKING:
    from orlop.engine.engine import ContainerInfo
    from orlop.engine.tasks import TaskSet
    from orlop.system.services.state import ContainerEngine

log = logging.getLogger(__name__)

PIPES = ("stdout", "stderr")
MAX_PIPES = 3000
"""Of containers: more is more than PID 1 can have open, with what it needs itself."""

HOLD_S = 60.0
"""How long after its start the next engine may take until it has opened all pipes."""


class OutputKeeper:
    """For the engine whose containers have their pipes below *directory*."""

    def __init__(self, directory: str, tasks: TaskSet) -> None:
        self._directory = directory
        self._tasks = tasks
        self._pidfd = -1
        self._held: list[int] = []
        self._closing: asyncio.TimerHandle | None = None

    async def follow(self, engine: ContainerEngine, service: str) -> None:
        """Watch whatever process *service*, a container of *engine*, has. Does not return."""
        with engine.events.subscribe() as events:
            with contextlib.suppress(NotFound):
                self._watch(engine.get(service))
            async for event in events:
                if event.action == "start" and event.attributes.get("name") == service:
                    with contextlib.suppress(NotFound):
                        self._watch(engine.get(service))

    def _watch(self, info: ContainerInfo) -> None:
        loop = asyncio.get_running_loop()
        self._forget()
        self._stop_closing()
        try:
            self._pidfd = os.pidfd_open(info.pid)
        except (OSError, ValueError):
            self._hold_soon()  # it has ended already
        else:
            loop.add_reader(self._pidfd, self._ended)
            self._closing = loop.call_later(HOLD_S, close_all, self._held)

    def _ended(self) -> None:
        self._forget()
        self._hold_soon()

    def _forget(self) -> None:
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _hold_soon(self) -> None:
        self._stop_closing()
        self._tasks.start(self._hold(), "output of containers")

    def _stop_closing(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    async def _hold(self) -> None:
        await asyncio.to_thread(open_pipes, self._directory, self._held)


def open_pipes(directory: str, opened: list[int]) -> None:
    """Open the output pipes of all containers in *directory*; descriptors go into *opened*.

    Those that are in it already, because an engine died soon after another, are not opened again;
    those that nobody else can open any more are closed.
    """
    known = _keep_linked(opened)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for path in (f"{directory}/{name}/{pipe}" for name in names for pipe in PIPES):
        if len(opened) >= MAX_PIPES:
            log.warning("there are more containers than pipes that can be kept, ignoring the rest")
            return
        try:
            status = os.lstat(path)
            if (status.st_dev, status.st_ino) in known:
                continue
            flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            opened.append(os.open(path, flags))
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                log.warning("output that nobody reads may be lost: %s, ignoring", error)


def _keep_linked(opened: list[int]) -> set[tuple[int, int]]:
    """Close those of *opened* whose pipe has no name any more; device and inode of the others."""
    known = set()
    for descriptor in opened.copy():
        status = os.fstat(descriptor)
        if status.st_nlink:
            known.add((status.st_dev, status.st_ino))
        else:
            opened.remove(descriptor)
            os.close(descriptor)
    return known


def close_all(descriptors: list[int]) -> None:
    """Close *descriptors*, which are none any more then."""
    while descriptors:
        os.close(descriptors.pop())
