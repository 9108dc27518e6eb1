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
import json
import logging
import os
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.engine import json_codec
from orlop.lib import atomic_file, mount
from orlop.lib.errors import Conflict, Internal, InvalidArgument, NotFound, OrlopError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from orlop.engine.events import EventHub
    from orlop.engine.removal import Trash

log = logging.getLogger(__name__)

ANONYMOUS_LABEL = "com.docker.volume.anonymous"
DATA = "_data"
FILE_NAME = "volume.json"
FORMAT = 1
MAX_FILE_BYTES = 1 << 20
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
MAX_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """What is known about one volume, as it is stored."""

    name: str
    created_ns: int
    driver: str = "local"
    options: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    filling: bool = False
    """It is to be filled with an image's content, and that has not been done yet, or not wholly."""

    @property
    def is_anonymous(self) -> bool:
        return any(key == ANONYMOUS_LABEL for key, _ in self.labels)


def check_name(name: str) -> str:
    """Refuse what is no name for a volume.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    if len(name) == 1:
        raise InvalidArgument(
            "volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise InvalidArgument(
            f'create {name[:200]}: "{name[:200]}" includes invalid characters for a local volume '
            'name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host '
            "directory, use absolute path"
        )
    return name


class Volumes:
    """Those of one engine. Changes are made one after the other."""

    def __init__(
        self,
        directory: Path,
        mounts_dir: Path,
        *,
        events: EventHub,
        trash: Trash,
        users: Callable[[str], list[str]],
    ) -> None:
        """*users* tells the ids of the containers that have the volume of a name."""
        self._directory = directory
        self._mounts_dir = mounts_dir
        self._events = events
        self._trash = trash
        self.users = users
        self._volumes: dict[str, Volume] = {}
        self._mounted: dict[str, set[str]] = {}
        self._lock = asyncio.Lock()

    def load(self) -> None:
        """Find what is there. A volume that cannot be read keeps its content, and is reported.

        Raises:
            OSError: the directory cannot be made or read.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o711)
        for entry in sorted(os.listdir(self._directory)):
            path = self._directory / entry
            if entry.startswith(atomic_file.TEMPORARY_PREFIX):
                self._trash.put(path)
            elif _NAME.fullmatch(entry) and (path / DATA).is_dir():
                volume = self._volumes[entry] = _read(path)
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
    ) -> Volume:
        """Make a volume, or return the one of that name. Without a name it is anonymous.

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
            from orlop.engine import volume_driver

            volume_driver.check_options(dict(options))
        async with self._lock:
            if name in self._volumes:
                return self._volumes[name]
            volume = Volume(
                name=check_name(name),
                created_ns=time.time_ns(),
                options=tuple(options),
                labels=tuple(chosen.items()),
                filling=filling,
            )
            try:
                await asyncio.to_thread(self._make, volume)
            except OSError as error:
                raise Internal(f"cannot create volume {name}: {error}") from error
            self._volumes[name] = volume
        self._publish("create", volume)
        return volume

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Delete a volume with its content.

        Raises:
            NotFound: there is none, unless *force*. Conflict: a container has it.
        """
        async with self._lock:
            if name not in self._volumes and force:
                return
            volume = self.get(name)
            using = self.users(name)
            if using:
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(using)}]")
            try:
                await asyncio.to_thread(self._unmount, name)
                await asyncio.to_thread(self._check_unmounted, name)
                self._trash.put(self._directory / name)
            except OSError as error:
                raise Internal(f"remove {name}: {error}") from error
            del self._volumes[name]
        self._publish("destroy", volume)

    async def set_filling(self, name: str, *, filling: bool) -> None:
        """Remember that its first content is being put there, or is there whole.

        Raises:
            Internal: the disk is full or broken.
        """
        async with self._lock:
            volume = replace(self.get(name), filling=filling)
            try:
                await asyncio.to_thread(_write, volume, self._directory / name)
            except OSError as error:
                raise Internal(f"cannot write volume {name}: {error}") from error
            self._volumes[name] = volume

    async def attach(self, name: str, container_id: str) -> Path:
        """Make its content available at the path returned, until `detach`.

        Raises:
            NotFound: there is no such volume. Internal: it cannot be mounted.
        """
        volume, path = self.get(name), self.content(name)
        async with self._lock:
            holders = self._mounted.setdefault(name, set())
            if volume.options and not await asyncio.to_thread(_is_mounted, path):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
                from orlop.engine import volume_driver

                await volume_driver.mount_options(dict(volume.options), path)
            holders.add(container_id)
        return path

    def adopt(self, name: str, container_id: str) -> None:
        """The container was up before this engine was, with the volume."""
        self._mounted.setdefault(name, set()).add(container_id)

    async def detach(self, container_id: str) -> list[str]:
        """The container is down: unmount what only it used; those it had. Never raises."""
        mine = [name for name, holders in self._mounted.items() if container_id in holders]
        for name in mine:
            async with self._lock:
                holders = self._mounted.get(name, set())
                holders.discard(container_id)
                if holders:
                    continue
                self._mounted.pop(name, None)
                volume = self._volumes.get(name)
                if volume is None or not volume.options:
                    continue
                try:
                    await asyncio.to_thread(self._unmount, name)
                except OSError as error:
                    log.warning("cannot unmount volume %s: %s, ignoring", name, error)
        return mine

    def publish_mount(self, action: str, name: str, attributes: dict[str, str]) -> None:
        """`mount` and `unmount`, with what Docker says about them."""
        self._events.publish("volume", action, name, {"driver": "local", **attributes})

    def _publish(self, action: str, volume: Volume) -> None:
        self._events.publish("volume", action, volume.name, {"driver": volume.driver})

    def _make(self, volume: Volume) -> None:
        temporary = self._directory / f"{atomic_file.TEMPORARY_PREFIX}{os.urandom(8).hex()}"
        temporary.mkdir(mode=0o701)
        try:
            (temporary / DATA).mkdir(mode=0o755)
            _write(volume, temporary)
            os.rename(temporary, self._directory / volume.name)
        except OSError:
            with contextlib.suppress(OSError):
                self._trash.put(temporary)
            raise
        atomic_file.sync_directory(self._directory)

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


def _write(volume: Volume, directory: Path) -> None:
    data = {"format": FORMAT, "volume": json_codec.encode(volume)}
    atomic_file.write_text(directory / FILE_NAME, json.dumps(data), mode=0o600)


def _read(directory: Path) -> Volume:
    """The volume in *directory*; if what is said about it is damaged, one without labels."""
    try:
        with open(directory / FILE_NAME, "rb") as stream:
            data = json.loads(stream.read(MAX_FILE_BYTES))
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise InvalidArgument("unknown format")
        volume = json_codec.decode(Volume, data.get("volume"), FILE_NAME)
        if volume.name == directory.name:
            return volume
        raise InvalidArgument(f"it belongs to volume {volume.name}")
    except (OSError, ValueError, OrlopError) as error:
        log.error("volume %s: %s, keeping its content", directory.name, error)
        return Volume(name=directory.name, created_ns=directory.stat().st_mtime_ns)
