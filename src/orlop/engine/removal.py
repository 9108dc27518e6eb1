"""Deleting directory trees of any size and depth without holding up the loop.

A tree is first renamed into the trash, which takes no time and survives a crash: what is in the
trash at a start is deleted then. The content was written by a container and may be hostile: no
link is followed, and a directory is emptied by moving its directories to the top, so depth costs
nothing. It is done in a thread: on a disk one deletion may take as long as many requests.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

TURN_S = 0.1
"""Of a thread: most trees have some levels and are gone after a few milliseconds."""

DELAY_S = 0.02
"""Before deleting begins: whoever asked for it gets the answer first, and more may come."""


class Trash:
    """A directory whose content is on its way out. Must be on the file system of what it takes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._counter = 0
        self._stopping = False
        self._has_more = False
        """Something was put since the running task looked last."""
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Make the directory, and go on deleting what an earlier engine left.

        Raises:
            OSError: it cannot be made.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._kick()

    def put(self, path: Path) -> None:
        """Delete *path* in the background; what does not exist is fine.

        Raises:
            OSError: it cannot be moved, and is still there.
        """
        try:
            os.rename(path, self._new_name())
        except FileNotFoundError:
            return
        self._kick()

    async def wait_empty(self) -> None:
        """Until everything put so far is gone, or could not be deleted."""
        if self._running is not None:
            await asyncio.shield(self._running)

    async def close(self) -> None:
        """Stop deleting; the next `start` goes on."""
        self._stopping = True
        if self._running is not None:
            await asyncio.gather(self._running, return_exceptions=True)

    def _new_name(self) -> str:
        self._counter += 1
        name = f"{os.getpid()}-{self._counter}-{os.urandom(4).hex()}"
        return os.path.join(self._directory, name)

    def _kick(self) -> None:
        self._has_more = True
        if self._running is None or self._running.done():
            # One task, kept here and ended by close().
            self._running = asyncio.get_running_loop().create_task(self._empty())

    async def _empty(self) -> None:
        await asyncio.sleep(DELAY_S)
        stuck: set[str] = set()
        while self._has_more and not self._stopping:
            self._has_more = False
            while await asyncio.to_thread(self._sweep_for_a_while, stuck):
                pass

    def _sweep_for_a_while(self, stuck: set[str]) -> bool:
        """In a thread, which others want too: whether there may be more."""
        until_s = time.monotonic() + TURN_S
        while more := self._sweep(stuck):
            if time.monotonic() > until_s:
                break
        return more

    def _sweep(self, stuck: set[str]) -> bool:
        """Delete what is there now; whether there was anything."""
        names = [name for name in os.listdir(self._directory) if name not in stuck]
        for name in names:
            path = os.path.join(self._directory, name)
            try:
                self._delete(path)
            except OSError as error:
                log.warning("cannot delete %s: %s, ignoring", path, error)
                stuck.add(name)
            if self._stopping:
                return False
        return bool(names)

    def _delete(self, path: str) -> None:
        if os.path.islink(path) or not os.path.isdir(path):
            os.unlink(path)
            return
        entries = os.scandir(path)
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    try:
                        # Nearly all are empty.
                        os.rmdir(entry.path)
                    except OSError:
                        os.rename(entry.path, self._new_name())
                else:
                    os.unlink(entry.path)
                if self._stopping:
                    return
        os.rmdir(path)
