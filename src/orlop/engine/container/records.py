"""Where the records of containers are kept: in memory for a boot, or on disk over reboots.

`VolatileRecords` is for an engine whose containers are made anew at each boot: one file per
container in `run_dir`, nothing synced. `DurableRecords` is for the user's engine. There the record
is two files in DATA/containers/ID:

    container.json   everything; written and synced when the container is made, renamed, updated
    state.json       the changing part; replaced at each change, and synced soon after

Both are replaced by rename, so a killed engine never leaves half a file. After a power cut a
`state.json` may be old or, where the file system does not order data before names, empty; then what
container.json says counts, and the container is at worst one whose last second is forgotten.

Syncing is done in a thread, for all that has changed since the last one: a burst of a thousand
starts costs a few commits of the journal and not a thousand. Who must not answer before something
is on disk awaits `flush`; that is: create, rename and update of a container that is to be kept
(`--rm` says it is not), and stop and removal of one that its restart policy would start again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING

from orlop.engine.container import record as record_file
from orlop.lib.errors import OrlopError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Protocol

    from orlop.engine.container.record import Record
    from orlop.engine.settings import EngineSettings
    from orlop.engine.tasks import TaskSet

    class Records(Protocol):
        """Two implementations; *id* is a container's."""

        durable: bool
        root: Path

        def read(self, directory: Path) -> Record: ...
        def create(self, record: Record) -> None: ...
        def save(self, record: Record) -> None: ...
        def save_state(self, record: Record) -> None: ...
        def removed(self, record: Record) -> None: ...
        async def flush(self) -> None: ...


log = logging.getLogger(__name__)

SYNC_DELAY_S = 0.1
"""How long a change of state may wait for others to be synced with it."""

_MEMORY_FILE_SYSTEMS = frozenset({0x01021994, 0x858458F6})
"""tmpfs and ramfs, where there is nothing to sync to."""


def make_records(settings: EngineSettings, tasks: TaskSet) -> Records:
    """What *settings* ask for."""
    if settings.durable:
        return DurableRecords(settings.data_dir / "containers", tasks)
    return VolatileRecords(settings.run_dir / "containers")


class VolatileRecords:
    """One file per container, as lasting as the memory file system it is on."""

    durable = False

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, directory: Path) -> Record:
        """As `record.read`."""
        return record_file.read(directory)

    def create(self, record: Record) -> None:
        """Store a new record; its directory exists.

        Raises:
            OSError: no space, or the directory is gone.
        """
        record_file.write(record, self.root / record.id)

    save = create
    save_state = create

    def removed(self, record: Record) -> None:
        """The directory of *record* has been moved away."""

    async def flush(self) -> None:
        """There is nothing to wait for."""


class DurableRecords:
    """See the module."""

    durable = True

    def __init__(self, root: Path, tasks: TaskSet) -> None:
        self.root = root
        self._tasks = tasks
        self._dirty: set[Path] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._running = False
        self._in_memory: bool | None = None

    def read(self, directory: Path) -> Record:
        """The record in *directory*, its state by the newer file.

        Raises:
            InvalidArgument: it is no record of ours. OSError: it cannot be read.
        """
        record = record_file.read(directory)
        try:
            record_file.read_state(record, directory)
        except FileNotFoundError:
            pass
        except (OSError, OrlopError) as error:
            log.warning("state of container %s: %s, using an older one", record.config.name, error)
        return record

    def create(self, record: Record) -> None:
        """Make the directory and store a new record.

        Raises:
            OSError: no space, or the directory is gone.
        """
        directory = self.root / record.id
        directory.mkdir(mode=0o710)
        record_file.write(record, directory)
        if not record.config.auto_remove:
            self._changed(directory / record_file.FILE_NAME, directory, self.root)

    def save(self, record: Record) -> None:
        """Store what is known, configuration and state.

        Raises:
            OSError: no space, or the directory is gone; the configuration is the one before.
        """
        directory = self.root / record.id
        self.save_state(record)
        record_file.write(record, directory)
        self._changed(directory / record_file.FILE_NAME, directory)

    def save_state(self, record: Record) -> None:
        """Store the changing part."""
        directory = self.root / record.id
        record_file.write_state(record, directory)
        if not record.config.auto_remove:
            self._changed(directory / record_file.STATE_NAME, directory)

    def removed(self, record: Record) -> None:
        """The directory of *record* has been moved away: it may not come back either."""
        if not record.config.auto_remove:
            self._changed(self.root)

    async def flush(self) -> None:
        """Wait until everything stored so far is on disk.

        Raises:
            OSError: the disk does not take it.
        """
        if not self._dirty and not self._running:
            return
        if self._is_in_memory():
            self._dirty.clear()
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wake.set()
        self._start()
        await future

    def _changed(self, *paths: Path) -> None:
        if not self._is_in_memory():
            self._dirty.update(paths)
            self._start()

    def _start(self) -> None:
        if not self._running:
            self._running = True
            self._tasks.start(self._sync_changes(), "record sync")

    def _is_in_memory(self) -> bool:
        if self._in_memory is None:
            from orlop.lib.linux import file_system_magic

            try:
                self._in_memory = file_system_magic(self.root) in _MEMORY_FILE_SYSTEMS
            except OSError:
                return False
        return self._in_memory

    async def _sync_changes(self) -> None:
        try:
            while self._dirty or self._waiting:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SYNC_DELAY_S):
                        await self._wake.wait()
                self._wake.clear()
                paths, self._dirty = self._dirty, set()
                waiting, self._waiting = self._waiting, []
                error = await asyncio.to_thread(_sync, paths)
                if error is not None:
                    log.error("records of containers are not on disk: %s", error)
                for future in waiting:
                    if future.done():
                        continue
                    if error is None:
                        future.set_result(None)
                    else:
                        future.set_exception(error)
        finally:
            self._running = False


def _sync(paths: set[Path]) -> OSError | None:
    """fsync each of *paths*; what is gone meanwhile is fine. In a thread."""
    failed: OSError | None = None
    # Files before the directories that name them.
    for path in sorted(paths, key=lambda path: len(path.parts), reverse=True):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            failed = error
            continue
        try:
            os.fsync(descriptor)
        except OSError as error:
            failed = error
        finally:
            os.close(descriptor)
    return failed
