"""Volumes: directories that outlive containers, kept in `DATA/volumes/NAME`.

    DATA/volumes/NAME/volume.json   what is known about it
    DATA/volumes/NAME/_data         its content, unless options mount another
    RUN/volumes/NAME                where they do

A volume is made under another name and renamed, and removed by being renamed into the trash, so it
is there whole or not at all. Who uses one is asked of the engine, never stored: there is nothing to
go stale. The only driver is `local`; its options mount something else while a
container that uses the volume is up.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.tasks import thread_to_its_end
from orlop.engine.turns import Turns
from orlop.engine.volumes.record import (
    ANONYMOUS_LABEL,
    DATA,
    NAME,
    Volume,
    check_name,
    read_volume,
    write_volume,
)
from orlop.lib import atomic_file, mount
from orlop.lib.errors import Conflict, Internal, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from orlop.engine.events import EventHub
    from orlop.engine.removal import Trash
    from orlop.engine.tasks import TaskSet
    from orlop.lib.children import Children

log = logging.getLogger(__name__)

TURN_LIMIT_S = 150.0
"""As long as one mount may take, and then some."""

DETACH_LIMIT_S = 5.0
"""How long the end of a container waits for its volumes to be unmounted."""


class Volumes:
    """Those of one engine. Changes to one are made one after the other.

    Whoever has to wait for the change before, which may hang on a server, waits `TURN_LIMIT_S`.
    """

    def __init__(
        self,
        directory: Path,
        mounts_dir: Path,
        *,
        events: EventHub,
        trash: Trash,
        children: Children,
        tasks: TaskSet,
        users: Callable[[str], list[str]],
    ) -> None:
        """*users* tells the ids of the containers that have the volume of a name."""
        self._directory = directory
        self._mounts_dir = mounts_dir
        self._events = events
        self._trash = trash
        self._children = children
        self._tasks = tasks
        self.users = users
        self._volumes: dict[str, Volume] = {}
        self._mounted: dict[str, set[str]] = {}
        self._turns = Turns()
        self.fillings = Turns()
        """For whoever fills a volume, which takes several changes."""
        self._reservations: list[set[str]] = []

    def load(self) -> None:
        """Find what is there. A volume that cannot be read keeps its content, and is reported.

        Raises:
            OSError: the directory cannot be made or read.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        for entry in sorted(os.listdir(self._directory)):
            try:
                self._load(entry)
            except OSError as error:
                # The disk is damaged there: no reason to be without the others.
                log.error("volume %s: %s, leaving it alone", entry, error)

    def _load(self, entry: str) -> None:
        path = self._directory / entry
        if entry.startswith(atomic_file.TEMPORARY_PREFIX):
            self._trash.put(path)
        elif NAME.fullmatch(entry) and (path / DATA).is_dir():
            atomic_file.remove_temporaries(path)
            volume = self._volumes[entry] = read_volume(path)
            if volume.filling:
                self._empty(path)

    def all(self) -> list[Volume]:
        """Every volume, by name."""
        return sorted(self._volumes.values(), key=lambda volume: volume.name)

    def get(self, name: str) -> Volume:
        """The volume *name*.

        Raises:
            NotFound: there is none.
        """
        try:
            return self._volumes[name]
        except KeyError:
            raise NotFound(f"get {name[:200]}: no such volume") from None

    def path(self, name: str) -> Path:
        """Where its content is, as Docker shows it."""
        return self._directory / name / DATA

    def content(self, name: str) -> Path:
        """Where its content is while it is attached.

        What options mount is in the run directory, where mounts outlive a killed engine.

        Raises:
            NotFound: there is no such volume.
        """
        return self._mounts_dir / name if self.get(name).options else self.path(name)

    async def create(
        self,
        name: str = "",
        *,
        driver: str = "",
        options: Sequence[tuple[str, str]] = (),
        labels: Sequence[tuple[str, str]] = (),
        filling: bool = False,
        reserve: set[str] | None = None,
    ) -> Volume:
        """Make a volume, or return the one of that name. Without a name it is anonymous.

        Its name is added to *reserve*, which `reserving` made.

        Raises:
            InvalidArgument, NotFound: name, driver or options are wrong. Internal: the disk is.
        """
        if driver not in ("", "local"):
            raise NotFound(
                f'error looking up volume plugin {driver[:80]}: plugin "{driver[:80]}" not found'
            )
        chosen = dict(labels)
        if not name:
            name = os.urandom(32).hex()
            chosen.setdefault(ANONYMOUS_LABEL, "")
        if options:
            from orlop.engine.volumes import driver as volume_driver

            volume_driver.check_options(dict(options))
        check_name(name)
        async with self._turn(name):
            if reserve is not None:
                reserve.add(name)
            if name in self._volumes:
                return self._volumes[name]
            volume = Volume(
                name=name,
                created_ns=time.time_ns(),
                options=tuple(options),
                labels=tuple(chosen.items()),
                filling=filling,
            )
            temporary = self._directory / f"{atomic_file.TEMPORARY_PREFIX}{os.urandom(8).hex()}"
            try:
                await thread_to_its_end(self._make, volume, temporary)
            except OSError as error:
                with contextlib.suppress(OSError):
                    self._trash.put(temporary)
                raise Internal(f"cannot create volume {name}: {error}") from error
            except asyncio.CancelledError:
                # It is there by now, and would be in the way of the next of that name.
                with contextlib.suppress(OSError):
                    made = temporary if temporary.exists() else self._directory / name
                    if made is temporary or read_volume(made) == volume:
                        self._trash.put(made)
                raise
            self._volumes[name] = volume
        self._publish("create", volume)
        return volume

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Delete a volume with its content.

        Raises:
            NotFound: there is none, unless *force*. Conflict: a container has it.
        """
        async with self._turn(name):
            if name not in self._volumes and force:
                return
            volume = self.get(name)
            using = self.users(name)
            if using:
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(using)}]")
            if any(name in names for names in self._reservations):
                raise Conflict(f"remove {name}: volume is in use by a container that is being made")
            try:
                await thread_to_its_end(self._unmount, name)
                await asyncio.to_thread(self._check_unmounted, name)
                self._trash.put(self._directory / name)
                # Gone, whether or not that is on the disk at once.
                del self._volumes[name]
                await asyncio.to_thread(atomic_file.sync_directory, self._directory)
            except OSError as error:
                raise Internal(f"remove {name}: {error}") from error
        self._publish("destroy", volume)

    async def set_filling(self, name: str, *, filling: bool) -> None:
        """Remember that its first content is being put there, or is there whole.

        Raises:
            Internal: the disk is full or broken.
        """
        async with self._turn(name):
            volume = replace(self.get(name), filling=filling)
            try:
                await thread_to_its_end(write_volume, volume, self._directory / name)
            except OSError as error:
                raise Internal(f"cannot write volume {name}: {error}") from error
            self._volumes[name] = volume

    async def attach(self, name: str, container_id: str) -> Path:
        """Make its content available at the path returned, until `detach`.

        Raises:
            NotFound: there is no such volume. Internal: it cannot be mounted.
        """
        if not self.get(name).options:
            self.adopt(name, container_id)
            return self.path(name)
        async with self._turn(name):
            volume, path = self.get(name), self.content(name)
            if not _is_mounted(path):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
                from orlop.engine.volumes import driver as volume_driver

                try:
                    await volume_driver.mount_volume(self._children, dict(volume.options), path)
                except BaseException:
                    # A part of it, as what is yet to be made read-only, would pass for the whole.
                    mount.detach(path)
                    raise
            self.adopt(name, container_id)
        return path

    def adopt(self, name: str, container_id: str) -> None:
        """The container was up before this engine was, with the volume."""
        self._mounted.setdefault(name, set()).add(container_id)

    async def detach(self, container_id: str) -> list[str]:
        """The container is down: unmount what only it used; those it had. Never raises."""
        mine = [name for name, holders in self._mounted.items() if container_id in holders]
        for name in mine:
            self._mounted[name].discard(container_id)
            if self._mounted[name]:
                continue
            del self._mounted[name]
            if name in self._volumes and self._volumes[name].options:
                # Shielded by being a task: it is done also when its turn comes later.
                unmounting = self._tasks.start(self._unmount_unused(name), f"unmounting {name}")
                await asyncio.wait((unmounting,), timeout=DETACH_LIMIT_S)
        return mine

    @contextlib.contextmanager
    def reserving(self) -> Iterator[set[str]]:
        """A set of names whose volumes nobody removes meanwhile: for a container in the making."""
        names: set[str] = set()
        self._reservations.append(names)
        try:
            yield names
        finally:
            # By identity: sets of other containers may be equal.
            self._reservations = [other for other in self._reservations if other is not names]

    def _turn(self, name: str) -> AbstractAsyncContextManager[None]:
        """What is done to volume *name*, one after the other.

        Raises:
            Unavailable: what came before takes too long.
        """
        reason = f"volume {name} is busy: what it mounts does not answer"
        return self._turns.of(name, TURN_LIMIT_S, reason)

    async def _unmount_unused(self, name: str) -> None:
        try:
            async with self._turn(name):
                if name not in self._mounted and name in self._volumes:
                    await asyncio.to_thread(self._unmount, name)
        except (OSError, Unavailable) as error:
            log.warning("cannot unmount volume %s: %s, ignoring", name, error)

    def publish_mount(self, action: str, name: str, attributes: dict[str, str]) -> None:
        """`mount` and `unmount`, with what Docker says about them."""
        self._events.publish("volume", action, name, {"driver": "local", **attributes})

    def _publish(self, action: str, volume: Volume) -> None:
        self._events.publish("volume", action, volume.name, {"driver": volume.driver})

    def _make(self, volume: Volume, temporary: Path) -> None:
        """What an error leaves is *temporary*."""
        temporary.mkdir(mode=0o701)
        (temporary / DATA).mkdir(mode=0o755)
        write_volume(volume, temporary)
        os.rename(temporary, self._directory / volume.name)
        try:
            atomic_file.sync_directory(self._directory)
        except OSError:
            os.rename(self._directory / volume.name, temporary)
            raise

    def _unmount(self, name: str) -> None:
        if self.get(name).options:
            place = self.content(name)
            mount.detach(place)
            with contextlib.suppress(FileNotFoundError):
                place.rmdir()

    def _check_unmounted(self, name: str) -> None:
        """Before a deletion: what somebody mounted in a volume is not the volume's.

        Raises:
            OSError: EBUSY, something is.
        """
        directory = self._directory / name
        for entry in mount.read_mounts():
            if entry.target.is_relative_to(directory):
                raise OSError(errno.EBUSY, f"something is mounted at {entry.target}")

    def _empty(self, path: Path) -> None:
        """Throw away what an interrupted filling left; nobody has used it yet."""
        try:
            self._trash.put(path / DATA)
            (path / DATA).mkdir(mode=0o755)
        except OSError as error:
            log.warning("cannot empty volume %s: %s, ignoring", path.name, error)


def _is_mounted(path: Path) -> bool:
    return any(entry.target == path for entry in mount.read_mounts())
