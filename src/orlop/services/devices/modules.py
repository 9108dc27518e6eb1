"""Feeds the module loader with the modaliases of new devices.

The loader is a program (`modload`), because finding and loading a module for an alias is also done
by PID 1 before this service exists. One loader runs at a time; what comes meanwhile waits in a
bounded set, so a storm of events ends in one more run and not in hundreds.
"""

import os
from collections.abc import Callable, Sequence

LOADER = "/usr/sbin/modload"
MAX_WAITING = 4096
"""Aliases that wait for a running loader. Beyond that all devices are looked at again instead."""

type Start = Callable[[Sequence[str], bytes], int]


def start_loader(arguments: Sequence[str], standard_input: bytes) -> int:
    """Start the loader with *standard_input* and return its process id.

    Raises:
        OSError: it cannot be started.
    """
    # A file in memory and not a pipe: writing to it cannot block and needs nobody who reads.
    descriptor = os.memfd_create("modaliases", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, standard_input)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.posix_spawn(
            LOADER,
            [LOADER, *arguments],
            {"PATH": "/usr/sbin:/usr/bin"},
            file_actions=[(os.POSIX_SPAWN_DUP2, descriptor, 0)],
        )
    finally:
        os.close(descriptor)


class ModuleQueue:
    """Aliases on their way to the loader.

    `start` is called when there is work and no loader runs.
    """

    def __init__(self, start: Start = start_loader) -> None:
        self._start = start
        self._waiting: dict[str, None] = {}
        self._all_devices = False
        self.loader: int | None = None

    def add(self, modalias: str) -> None:
        """Have the module for *modalias* loaded soon."""
        if "\n" in modalias or not modalias:
            return
        self._waiting[modalias] = None
        if len(self._waiting) > MAX_WAITING:
            self.add_all()

    def add_all(self) -> None:
        """Have all devices that the kernel knows looked at."""
        self._waiting.clear()
        self._all_devices = True

    def run(self) -> None:
        """Start the loader if there is something to do and none is running.

        Raises:
            OSError: it cannot be started; what waited is dropped, since it would fail again.
        """
        if self.loader is not None or not (self._waiting or self._all_devices):
            return
        arguments = ["coldplug"] if self._all_devices else ["stdin"]
        aliases = "".join(f"{alias}\n" for alias in self._waiting)
        self._waiting.clear()
        self._all_devices = False
        self.loader = self._start(arguments, aliases.encode(errors="surrogateescape"))

    def ended(self, process_id: int) -> bool:
        """Whether *process_id* was the loader; the next one may start then."""
        if process_id != self.loader:
            return False
        self.loader = None
        return True
