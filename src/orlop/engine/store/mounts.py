"""Layers in the file system: each is mounted once, read-only, for all containers that use it.

An overlay keeps layers for itself once it is mounted, so taking a layer's mount away never disturbs
a container. Layers that nobody uses stay mounted, up to `IDLE_MOUNTS`, for the next start.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from typing import TYPE_CHECKING

from orlop.engine.store.directory import INDEX, TAR
from orlop.engine.store.layer_index import checksum
from orlop.lib import loop, mount
from orlop.lib.errors import Internal, Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orlop.engine.store.directory import StoreDirectory
    from orlop.engine.store.records import LayerRecord

log = logging.getLogger(__name__)

IDLE_MOUNTS = 32
"""Each costs the kernel some kilobytes, and a start of a container a microsecond."""

_NAME_DIGITS = 16
"""Of the diff id: enough to be unique, few enough for a hundred in the options of one mount."""

EMPTY = "empty"
"""The directory that stands for an image without layers."""


class LayerMounts:
    """Owner of the mounts below *directory*."""

    def __init__(self, directory: Path, store: StoreDirectory) -> None:
        self._directory = directory
        self._store = store
        self._mounted: dict[str, None] = {}
        """Diff ids, the one unused for longest first."""
        self._users: dict[str, tuple[str, ...]] = {}
        self._lock = asyncio.Lock()

    def start(self) -> None:
        """Take away what an earlier engine mounted. Raises: OSError."""
        (self._directory / EMPTY).mkdir(parents=True, exist_ok=True, mode=0o755)
        for entry in reversed(mount.read_mounts()):
            if entry.target.parent == self._directory:
                mount.detach(entry.target)

    def path(self, diff_id: str) -> Path:
        """Where the layer is when it is mounted."""
        return self._directory / diff_id.partition(":")[2][:_NAME_DIGITS]

    def lower(self, layers: Sequence[str]) -> tuple[Path, ...]:
        """The directories for an overlay of *layers*, uppermost first."""
        # A layer that is there twice counts where it is uppermost: what it has below is covered by
        # itself, and overlayfs takes no directory twice.
        paths = tuple(self.path(diff_id) for diff_id in dict.fromkeys(reversed(layers)))
        return paths or (self._directory / EMPTY,)

    async def mount(self, layers: Sequence[LayerRecord], user: str) -> None:
        """Mount what is not yet, for *user*.

        Raises:
            Unavailable, Internal: with the layer.
        """
        self._users[user] = tuple(layer.diff_id for layer in layers)
        if all(layer.diff_id in self._mounted for layer in layers):
            return
        async with self._lock:
            for layer in layers:
                if layer.diff_id not in self._mounted:
                    await asyncio.to_thread(self._mount, layer)
                    self._mounted[layer.diff_id] = None

    def unmount(self, user: str) -> None:
        """Forget *user*; its layers stay for a while."""
        for diff_id in self._users.pop(user, ()):
            if diff_id in self._mounted:
                del self._mounted[diff_id]
                self._mounted[diff_id] = None
        used = {diff_id for layers in self._users.values() for diff_id in layers}
        idle = [diff_id for diff_id in self._mounted if diff_id not in used]
        for diff_id in idle[: max(len(idle) - IDLE_MOUNTS, 0)]:
            self.forget(diff_id)

    def forget(self, diff_id: str) -> None:
        """Take the mount away; never raises."""
        self._mounted.pop(diff_id, None)
        try:
            mount.detach(self.path(diff_id))
            self.path(diff_id).rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("cannot unmount layer %s: %s, ignoring", diff_id[:19], error)

    def _mount(self, layer: LayerRecord) -> None:
        directory = self._store.layer(layer.diff_id)
        target = self.path(layer.diff_id)
        check_index(directory, layer)
        try:
            target.mkdir(mode=0o755, exist_ok=True)
            mount.detach(target)
            _mount_pair(directory / INDEX, directory / TAR, target)
        except OSError as error:
            raise _explain(layer, error) from error


def _mount_pair(index: Path, tar: Path, target: Path) -> None:
    """Mount an index with its tar; through loop devices where the files cannot be mounted.

    A tmpfs answers ENOTBLK: it has no `read_folio`.
    """
    flags = mount.MountFlag.RDONLY | mount.MountFlag.NOATIME
    try:
        mount.mount(index, target, "erofs", flags, f"device={tar}")
        return
    except OSError as error:
        if error.errno != errno.ENOTBLK:
            raise
    devices: list[int] = []
    try:
        names = []
        for path in (index, tar):
            name, device = loop.attach(path)
            devices.append(device)
            names.append(name)
        mount.mount(names[0], target, "erofs", flags, f"device={names[1]}")
    except OSError as error:
        # What the caller needs to know is why it was tried at all.
        raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK), os.fspath(target)) from error
    finally:
        for device in devices:
            os.close(device)


class DamagedIndex(Internal):
    """A layer's index is not what it was; it can be made again from the layer."""


def check_index(directory: Path, layer: LayerRecord) -> None:
    """Raises: DamagedIndex; Internal: the layer itself is missing or cut off."""
    try:
        size = os.stat(directory / TAR).st_size
    except OSError as error:
        raise Internal(f"layer {layer.diff_id} is missing: {error.strerror}") from error
    if size != layer.tar_bytes:
        raise Internal(f"layer {layer.diff_id} is damaged: {size} of {layer.tar_bytes} bytes")
    try:
        index_bytes = os.stat(directory / INDEX).st_size
        if index_bytes == layer.index_bytes and checksum(os.fspath(directory / INDEX)) == (
            layer.index_crc
        ):
            return
    except OSError as error:
        raise DamagedIndex(f"the index of layer {layer.diff_id}: {error.strerror}") from error
    raise DamagedIndex(f"the index of layer {layer.diff_id} is damaged")


def _explain(layer: LayerRecord, error: OSError) -> Unavailable:
    hint = None
    if error.errno == errno.ENOTBLK:
        hint = (
            "the file system of the engine's data cannot hold mountable layers (tmpfs cannot), and "
            "there are no loop devices: use ext4, xfs, btrfs or ramfs"
        )
    elif error.errno == errno.ENODEV:
        hint = "this kernel has no EROFS (CONFIG_EROFS_FS)"
    text = f"cannot mount layer {layer.diff_id[:19]}: {error.strerror}"
    return Unavailable(f"{text}: {hint}" if hint else text, hint=hint)
