"""The data of services in the format that they know: copied aside before it becomes another one.

    os/epochs.json              {NAME: {"epoch": NUMBER, "back": {VOLUME: INODE}}}
    os/data/NAME@EPOCH/VOLUME   the content of a volume as it was before a later epoch

A service with a later epoch finds its volumes as they are, and makes of them what it needs; one
with an earlier epoch gets those back that were copied aside, and what is there takes their place. A
power cut in between is nothing: copies count when they are whole, and what has been exchanged is
told by its inode. All that is done only while the service has no container that runs. Where the
file system can, copies share their blocks with what they are copies of.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine.worker_process import worker_argv
from orlop.lib import atomic_file, file_clone
from orlop.lib.errors import Conflict, Internal, NotFound, OrlopError, ResourceExhausted
from orlop.lib.linux import LIBC, check
from orlop.system.services.overlay import EPOCHS
from orlop.system.updates.later import DIRECTORY
from orlop.wire.compose_model import MountKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json

COPIES = "data"
KEPT_S = 31 * 86400.0
KEPT_UNNEEDED = 2
"""Of a service: copies in formats to which no generation would go back."""
SCARCE = 0.1
"""With less than that share of the file system free none of these is kept."""
COPY_TIMEOUT_S = 3600.0
MARGIN_BYTES = 64 << 20
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class ServiceData:
    """Of the machine of *boot*; what is known is below *directory*."""

    def __init__(self, boot: Boot, directory: Path = Path(DIRECTORY)) -> None:
        self._boot = boot
        self._directory = directory

    async def bring_all(self) -> None:
        """Before services are started: each has its data in its format.

        Raises:
            OrlopError: of some that is impossible; they are not to be started.
        """
        known = await asyncio.to_thread(self._read)
        overlay, failed = self._boot.images.overlay, []
        for name in sorted({*known, *overlay.versions}):
            try:
                await self.bring(name, overlay.epoch(name))
            except (OrlopError, OSError) as error:
                self._boot.services.refuse(name, f"its data: {error}")
                failed.append(f"{name}: {error}")
        if failed:
            raise Internal("; ".join(failed))

    async def bring(self, name: str, wanted: int) -> None:
        """Let the data of service *name* be in the format *wanted*.

        Raises:
            Conflict: it runs, or there is no such copy. ResourceExhausted: no room for a copy.
            OrlopError, OSError: it cannot be copied; nothing has changed.
        """
        known = await asyncio.to_thread(self._read)
        entry = known.get(name, {})
        present, back = int(str(entry.get("epoch", 0))), entry.get("back")
        if present == wanted and not back:
            return
        self._refuse_running(name)
        if isinstance(back, dict):  # interrupted on its way back to `epoch`
            await asyncio.to_thread(self._go_back, known, name, present, back)
            present = int(str(back["to"]))
        if wanted > present:
            await self._copy_aside(name, present)
            await asyncio.to_thread(self._note, known, name, {"epoch": wanted})
        elif wanted < present:
            await asyncio.to_thread(self._begin_back, known, name, present, wanted)

    async def check_room(self, needs: Mapping[str, int]) -> None:
        """For copies of the data of services that get the epochs *needs*.

        Raises:
            ResourceExhausted: there is not enough. Conflict: there is no copy to go back to.
        """
        known = await asyncio.to_thread(self._read)
        size = 0
        for name, wanted in needs.items():
            present = int(str(known.get(name, {}).get("epoch", 0)))
            if wanted > present:
                size += await asyncio.to_thread(_size_of, [*self._volumes(name).values()])
            elif wanted < present and not self._copy(name, wanted).is_dir():
                raise Conflict(
                    f"the data of service {name} has format {present}, and there is no copy of "
                    f"how it was in format {wanted}"
                )
        await asyncio.to_thread(self._refuse_without_room, size)

    async def forget_old(self, needed: Collection[tuple[str, int]]) -> None:
        """Copies are kept for a month; of those that are not *needed*, as service and format, a few
        for each service, and none when there is little room."""

        def work() -> list[Path]:
            with contextlib.suppress(FileNotFoundError):
                found = {c: c.stat().st_mtime for c in (self._directory / COPIES).iterdir()}
                status = os.statvfs(self._directory)
                is_scarce = status.f_bavail < SCARCE * status.f_blocks
                kept = 0 if is_scarce else KEPT_UNNEEDED
                return unwanted(found, needed, kept, time.time() - KEPT_S)
            return []

        for copy in await asyncio.to_thread(work):
            self._boot.engine.host.data_trash.put(copy)

    def _copy(self, name: str, epoch: int) -> Path:
        return self._directory / COPIES / f"{name}@{epoch}"

    def _refuse_running(self, name: str) -> None:
        with contextlib.suppress(NotFound):
            if self._boot.engine.get(name).pid:
                raise Conflict(f"service {name} runs: its data stays as it is")

    def _volumes(self, name: str) -> dict[str, Path]:
        """The volumes of service *name* that are there, with their content.

        Raises:
            Conflict: one is mounted from elsewhere.
        """
        from orlop.engine.container.config import from_service

        volumes = self._boot.engine.host.volumes
        if name not in self._boot.services.names():
            return {}
        config = self._boot.images.adapt(from_service(self._boot.services.definition(name)))
        found: dict[str, Path] = {}
        for mount in config.mounts:
            if mount.kind is not MountKind.VOLUME or not mount.source:
                continue
            with contextlib.suppress(NotFound):
                if volumes.get(mount.source).options:
                    raise Conflict(
                        f"volume {mount.source} of service {name} is mounted from elsewhere and "
                        "cannot be copied aside"
                    )
                found[mount.source] = volumes.path(mount.source)
        return found

    def _refuse_without_room(self, size_bytes: int) -> None:
        status = os.statvfs(self._directory)
        free = status.f_bavail * status.f_frsize
        if size_bytes and file_clone.is_possible(self._directory):
            size_bytes = 0  # what is written later takes room, as anything does
        if size_bytes and free < size_bytes + MARGIN_BYTES:
            raise ResourceExhausted(
                f"the data of services takes {size_bytes >> 20} MiB, and {free >> 20} MiB are free "
                "for the copy that an update makes of it"
            )

    async def _copy_aside(self, name: str, epoch: int) -> None:
        """Keep the volumes of *name* as they are in format *epoch*; the copy is there whole."""
        volumes = self._volumes(name)
        size = await asyncio.to_thread(_size_of, [*volumes.values()])
        await asyncio.to_thread(self._refuse_without_room, size)
        target = self._copy(name, epoch)
        making = target.with_name(f"{atomic_file.TEMPORARY_PREFIX}{target.name}")
        trash = self._boot.engine.host.data_trash
        trash.put(making)
        try:
            await asyncio.to_thread(making.mkdir, 0o700, parents=True)
            for volume, content in volumes.items():
                await asyncio.to_thread((making / volume).mkdir, 0o700)
                command = worker_argv("copy", os.fspath(content), "/", os.fspath(making / volume))
                status, output = await self._boot.children.run(command, timeout_s=COPY_TIMEOUT_S)
                if not status.ok:
                    text = output.decode(errors="replace").strip()[-300:]
                    raise Internal(f"volume {volume} of service {name} cannot be copied: {text}")
        except BaseException:
            with contextlib.suppress(OSError):
                trash.put(making)
            raise
        trash.put(target)
        await asyncio.to_thread(_settle, making, target)

    def _begin_back(
        self, known: dict[str, dict[str, Json]], name: str, present: int, wanted: int
    ) -> None:
        copy = self._copy(name, wanted)
        try:
            inodes: dict[str, Json] = {v: (copy / v).stat().st_ino for v in os.listdir(copy)}
        except FileNotFoundError:
            raise Conflict(
                f"the data of service {name} has format {present}, and there is no copy of how it "
                f"was in format {wanted}"
            ) from None
        back: dict[str, Json] = {"to": wanted, "volumes": inodes}
        self._note(known, name, {"epoch": present, "back": back})
        self._go_back(known, name, present, back)

    def _go_back(
        self,
        known: dict[str, dict[str, Json]],
        name: str,
        present: int,
        back: Mapping[str, Json],
    ) -> None:
        """Exchange the volumes of *name* with their copies; may run again."""
        wanted = int(str(back["to"]))
        copy, aside = self._copy(name, wanted), self._copy(name, present)
        inodes = back["volumes"]
        assert isinstance(inodes, dict)
        if copy.is_dir():
            for volume, inode in inodes.items():
                content = self._boot.engine.host.volumes.path(volume)
                if content.is_dir() and content.stat().st_ino != inode:
                    _exchange(copy / volume, content)
            self._boot.engine.host.data_trash.put(aside)
            _settle(copy, aside)
        self._note(known, name, {"epoch": wanted})

    def _read(self) -> dict[str, dict[str, Json]]:
        try:
            found = json.loads((self._directory / EPOCHS).read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise Internal(f"{self._directory / EPOCHS}: {error}") from None
        return {k: v for k, v in found.items() if isinstance(v, dict)}

    def _note(self, known: dict[str, dict[str, Json]], name: str, entry: dict[str, Json]) -> None:
        known[name] = entry
        if entry == {"epoch": 0}:
            del known[name]
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.write_text(self._directory / EPOCHS, json.dumps(known), mode=0o600)


def unwanted(
    found: Mapping[Path, float], needed: Collection[tuple[str, int]], kept: int, since_s: float
) -> list[Path]:
    """Of copies with their times those to be forgotten: older than *since_s*, or not *needed* and
    not among the *kept* newest such of their service; pure."""
    old = [copy for copy, time_s in found.items() if time_s <= since_s]
    others: dict[str, list[Path]] = {}
    for copy in sorted(set(found) - set(old), key=lambda c: (found[c], c.name), reverse=True):
        name, _, epoch = copy.name.rpartition("@")
        if (name, int(epoch) if epoch.isdecimal() else -1) not in needed:
            others.setdefault(name, []).append(copy)
    return [*old, *(copy for copies in others.values() for copy in copies[kept:])]


def _settle(source: Path, target: Path) -> None:
    os.utime(source)
    os.rename(source, target)
    atomic_file.sync_directory(target.parent)


def _exchange(one: Path, other: Path) -> None:
    """Source: renameat2(2)."""
    check(
        LIBC.renameat2(
            _AT_FDCWD,
            ctypes.c_char_p(os.fsencode(one)),
            _AT_FDCWD,
            ctypes.c_char_p(os.fsencode(other)),
            ctypes.c_uint(_RENAME_EXCHANGE),
        )
    )
    for path in (one, other):
        atomic_file.sync_directory(path.parent)


def _size_of(paths: Iterable[Path]) -> int:
    """What the trees at *paths* take on the disk, roughly."""
    total = 0
    for path in paths:
        for folder, _, files in os.walk(path):
            for name in files:
                with contextlib.suppress(OSError):
                    total += os.lstat(f"{folder}/{name}").st_blocks * 512
    return total
