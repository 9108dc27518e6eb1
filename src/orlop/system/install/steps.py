"""Doing the steps of an installation: see `install.plan`. Each is on the disk, and read back from
it, before the next begins."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from orlop.engine.worker_process import report
from orlop.lib.children import run_with_children
from orlop.lib.disk_layout import ESP_LABEL, STATE_LABEL
from orlop.lib.errors import Internal, OrlopError
from orlop.lib.fat32 import Piece, check_room, make_fat32, plan_geometry
from orlop.lib.iso9660 import Extent
from orlop.lib.medium import hash_of
from orlop.lib.mount import MountFlag, mount, unmount
from orlop.system.config.store import ConfigStore, Texts
from orlop.system.install.disks import STATE_TYPES
from orlop.system.install.plan import (
    STATE_NUMBER,
    BootPartition,
    KeptState,
    NewState,
    Put,
    Step,
    describe,
)
from orlop.system.install.target import drop_cache_of, partition_of
from orlop.system.storage.formatting import MAKERS
from orlop.system.storage.state import CHECKER
from orlop.system.storage.superblock import HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from orlop.lib.fat32 import Content
    from orlop.lib.medium import Source
    from orlop.system.install.disks import Disk
    from orlop.system.install.luks import Lock
    from orlop.system.install.target import Target

MAKE_TIMEOUT_S = 1800.0
MOUNT_POINT = "/run/orlop/install"
BASE = "lib/orlop"
_FLAGS = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC
OLD_RELEASES = (
    *("standing.json", "pending", "trial.json", "services.json", "epochs.json", "journal", "gens"),
    "incoming",
)
"""Below lib/orlop/os: they are about images that a new boot partition does not have. The one that
names the others is the first to go, so that after an interruption the rest counts for nothing."""


class Installation:
    """Of *source* on *target*, which is *disk*: *config*, and *files* for the boot partition.

    *lock* has the keys of a state that is encrypted, or is to be. *mirror* is the other of two
    disks of which each has everything.
    """

    def __init__(
        self,
        target: Target,
        disk: Disk,
        source: Source,
        config: str,
        files: Mapping[str, Content],
        lock: Lock,
        mirror: Target | None = None,
    ) -> None:
        self._lock = lock
        self._mirror = mirror
        self._target = target
        self._disk = disk
        self._source = source
        self._config = config
        self._files = files

    def check(self, steps: Sequence[Step]) -> None:
        """Whether what *steps* make has room, before anything is given up for it.

        Raises:
            OrlopError: it has not.
        """
        for step in steps:
            if isinstance(step, BootPartition):
                check_room(step.size_bytes, self._files, self._target.sector_bytes)

    def describe(self, step: Step) -> str:
        """*step* for people; of two disks, with the one that it is done to."""
        if self._mirror is None or isinstance(step, NewState):
            return describe(step)
        return f"{self._target.device}: {describe(step)}"

    def do(self, step: Step) -> None:
        """Do one step.

        Raises:
            OrlopError, OSError: it failed, or the disk has something else than what was written.
        """
        name = self.describe(step)
        report({"step": name, "text": name})
        match step:
            case Put(_, writes):
                for write in writes:
                    self._target.write(write.offset_bytes, write.data)
                    self._target.commit()
            case BootPartition():
                self._make_boot_partition(step, name)
            case NewState(start, size, encrypted, mirrored):
                part = empty_partition(self._target, start, size)
                if mirrored:
                    assert self._mirror is not None
                    other = empty_partition(self._mirror, start, size)
                    self._make_mirrored((part, other), encrypted=encrypted)
                else:
                    self._make(part, encrypted=encrypted)
                    self._examine(part, encrypted=encrypted)
            case KeptState(start, size):
                self._keep_state(start, size)

    def _make_boot_partition(self, step: BootPartition, name: str) -> None:
        target, place = self._target, self._source.place
        # Files lie there by size: the image is the last one, unless the extras are larger.
        cluster = plan_geometry(step.size_bytes, target.sector_bytes).cluster_bytes
        sizes = [file.size_bytes for file in self._files.values() if isinstance(file, Piece)]
        large = (size for size in sizes if size >= place.size_bytes)
        behind = sum(-(-size // cluster) * cluster for size in large)

        def verify(end: int) -> None:
            extent = Extent(end - behind, place.size_bytes)
            if hash_of(target.read, extent) != self._source.image.sha256:
                raise Internal("the image has changed while it was read: the medium is faulty")

        make_boot_partition(target, step, self._files, name, verify)

    def _make_state(self, part: str) -> None:
        self._run([*MAKERS["ext4"], "-L", STATE_LABEL, part])
        with _mounted(part, "ext4") as root:
            os.makedirs(f"{root}/{BASE}", mode=0o755)
            self._configure(f"{root}/{BASE}")

    def _make_mirrored(self, parts: tuple[str, str], *, encrypted: bool) -> None:
        from orlop.system.install import array

        with array.made(parts) as device:
            self._make(device, encrypted=encrypted)
            for part in parts:
                with array.read_from(device, part):
                    self._examine(device, encrypted=encrypted)

    def _make(self, part: str, *, encrypted: bool) -> None:
        if not encrypted:
            self._make_state(part)
            return
        self._lock.make(part)
        with self._lock.opened(part) as device:
            self._make_state(device)

    def _examine(self, part: str, *, encrypted: bool) -> None:
        """Whether everything is there, as the disk has it."""
        drop_cache_of(part)
        if not encrypted:
            self._check_state(part)
            return
        self._lock.check(part)
        with self._lock.opened(part) as device:
            self._check_state(device)

    def _check_state(self, part: str) -> None:
        self._run([CHECKER, "-f", "-n", part])
        with _mounted(part, "ext4", MountFlag.RDONLY) as root:
            self._check_configuration(f"{root}/{BASE}")

    def _keep_state(self, start: int, size: int) -> None:
        if self._disk.busy:  # it is this machine's own
            base = f"/var/{BASE}"
            self._configure(base)
            return
        part = partition_of(self._disk.device, STATE_NUMBER)
        if not os.path.exists(part):
            self._target.add_partition(STATE_NUMBER, start, size)
        with self._opened(part) as device, _mounted_somehow(device) as root:
            self._configure(f"{root}/{BASE}")
        drop_cache_of(part)
        with (
            self._opened(part) as device,
            _mounted_somehow(device, MountFlag.RDONLY) as root,
        ):
            self._check_configuration(f"{root}/{BASE}")

    def _opened(self, part: str) -> AbstractContextManager[str]:
        """What can be mounted of *part*."""
        return self._lock.opened(part) if self._disk.is_locked else nullcontext(part)

    def _configure(self, base: str) -> None:
        """Make the configuration the one in force, as a new version."""
        for name in OLD_RELEASES:
            path = f"{base}/os/{name}"
            _remove(path)
        if self._config:
            store = ConfigStore(base)
            if os.path.isfile(f"{base}/config.yml") and not os.path.islink(f"{base}/config.yml"):
                with open(f"{base}/config.yml", encoding="utf-8", errors="replace") as stream:
                    store.adopt(Texts(stream.read()))
            store.switch(store.add(Texts(self._config)))
        os.sync()

    def _check_configuration(self, base: str) -> None:
        if self._config:
            with open(f"{base}/config.yml", encoding="utf-8") as stream:
                if stream.read() != self._config:
                    raise Internal(f"{self._disk.device} does not hold the configuration")

    def _run(self, command: Sequence[str]) -> None:
        """Run a program to its end.

        Raises:
            OrlopError: it fails, with the last that it says.
        """

        status, output = run_with_children(lambda it: it.run(command, timeout_s=MAKE_TIMEOUT_S))
        if not status.ok:
            last = output.decode(errors="replace").strip().splitlines()[-1:]
            raise OrlopError(f"{os.path.basename(command[0])} failed: {' '.join(last)}")


def empty_partition(target: Target, start: int, size: int) -> str:
    """The state's, for the kernel, without the beginning of what may have been there before: the
    name of half a mirror could outlive a file system."""
    target.write(start, bytes(HEAD_BYTES))
    target.commit()
    return target.add_partition(STATE_NUMBER, start, size)


def make_boot_partition(
    target: Target,
    step: BootPartition,
    files: Mapping[str, Content],
    name: str,
    verify: Callable[[int], None] = lambda _: None,
    *,
    begins_at: int | None = None,
) -> None:
    """Make the boot partition with *files*; *name* is what is reported. *begins_at*: on its disk,
    in bytes, if *target* is the partition itself.

    *verify* looks at what has been written, with the place where that ends, before the first
    sector, without which there is no file system, is written as well.

    Raises:
        OrlopError, OSError: from the disk, or *verify*.
    """
    head, end, done = b"", 0, 0
    sizes = [file.size_bytes for file in files.values() if isinstance(file, Piece)]
    total = 2 * (sum(sizes) + (2 << 20))

    def step_on(count: int) -> None:
        nonlocal done
        done = min(total, done + count)
        report({"step": name, "text": name, "done_bytes": done, "total_bytes": total})

    def write(offset: int, data: bytes) -> None:
        nonlocal head, end
        if offset == 0:
            head = data
            return
        target.write(step.start_bytes + offset, data)
        end = max(end, offset + len(data))
        step_on(len(data))

    make_fat32(
        write,
        step.size_bytes,
        ESP_LABEL,
        files,
        epoch=int(time.time()),
        volume_id=int.from_bytes(os.urandom(4)),
        hidden_sectors=(step.start_bytes if begins_at is None else begins_at)
        // target.sector_bytes,
        sector_bytes=target.sector_bytes,
    )
    target.commit(step_on)
    verify(step.start_bytes + end)
    target.write(step.start_bytes, head)
    target.commit()


def _remove(path: str) -> None:
    """Remove *path* and what is below it."""
    if not os.path.isdir(path) or os.path.islink(path):
        if os.path.lexists(path):
            os.unlink(path)
        return
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            os.unlink(f"{folder}/{name}")
        for name in folders:
            _remove(f"{folder}/{name}")
    os.rmdir(path)


@contextmanager
def _mounted(part: str, fstype: str, extra: MountFlag = MountFlag(0)) -> Iterator[str]:
    os.makedirs(MOUNT_POINT, exist_ok=True)
    mount(part, MOUNT_POINT, fstype, _FLAGS | extra)
    try:
        yield MOUNT_POINT
    finally:
        unmount(MOUNT_POINT)


@contextmanager
def _mounted_somehow(part: str, extra: MountFlag = MountFlag(0)) -> Iterator[str]:
    """A state of any kind."""
    from orlop.system.storage.block_devices import read_volume

    volume = read_volume(part)
    if volume is None or volume.superblock.fstype not in STATE_TYPES:
        raise OrlopError(f"the state on {part} cannot be mounted here")
    with _mounted(part, volume.superblock.fstype, extra) as root:
        yield root
