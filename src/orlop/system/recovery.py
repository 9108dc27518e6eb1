"""The lock of recovery mode: a password's hash, kept where recovery mode can find it.

That is the kernel command line, or a file on the state partition, which recovery mode mounts for a
moment, read-only and without replaying its journal. If neither can be read there is no lock: a
broken disk is what recovery is for. docs/boot.md says what the lock protects from, and what not.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.blocking import run_bounded
from orlop.lib.mount import MountFlag, detach, mount
from orlop.lib.password_hash import is_hash
from orlop.system.storage import state

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.system.config.configuration import Configuration
    from orlop.system.storage.block_devices import Volume

log = logging.getLogger(__name__)

KEY = "orlop.recovery.password"
KEPT = "/var/lib/orlop/recovery.hash"
LOCK = "/run/orlop/etc/recovery"
"""Where a console in recovery mode looks; nothing there: it is open."""

MAX_BYTES = 4096
MOUNT_TIMEOUT_S = 20.0
_OPTIONS = {"ext4": "noload", "xfs": "norecovery", "btrfs": ""}


def keep(configuration: Configuration, path: str = KEPT) -> None:
    """Keep the lock of *configuration* for the next recovery, or remove it.

    Raises:
        OSError: it cannot be written.
    """
    hashed = configuration.get(KEY)
    if isinstance(hashed, str):
        content = f"{hashed}\n".encode()
        if _read(path) != hashed:
            atomic_file.write_bytes(Path(path), content, mode=0o600)
    elif os.path.exists(path):
        os.unlink(path)


async def find_lock(boot: Boot, choice: state.Choice) -> state.Choice:
    """In recovery mode: put the lock where the console finds it, if there is one.

    Returns:
        What to mount instead of *choice*: nothing.
    """
    hashed = boot.machine.parameters.recovery_password
    if not hashed and choice.volume is not None:
        try:
            directory = boot.machine.parameters.state_directory
            call = partial(_read_from, choice.volume, directory)
            hashed = await run_bounded(call, MOUNT_TIMEOUT_S)
        except (OSError, TimeoutError) as error:
            reason = getattr(error, "strerror", None) or "no answer"
            boot.machine.warn(
                f"{choice.volume.device} cannot be read ({reason}): recovery mode is open"
            )
    if hashed and is_hash(hashed):
        atomic_file.write_text(Path(LOCK), f"{hashed}\n", mode=0o600)
    return state.Choice(None)


def _read_from(volume: Volume, directory: str) -> str:
    """What is kept on *volume*, of which only *directory* (empty: all of it) is the state."""
    fstype = volume.superblock.fstype
    flags = MountFlag.RDONLY | MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC
    os.makedirs(state.READ_ONLY_TARGET, exist_ok=True)
    mount(volume.device, state.READ_ONLY_TARGET, fstype, flags, _OPTIONS.get(fstype, ""))
    try:
        root = f"{state.READ_ONLY_TARGET}/{directory}".rstrip("/")
        return _read(root + KEPT.removeprefix(state.TARGET))
    finally:
        detach(Path(state.READ_ONLY_TARGET))


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read(MAX_BYTES).strip()
    except FileNotFoundError:
        return ""


def lock_of_emergency() -> str:
    """The hash that opens the emergency shell; empty without a lock."""
    for path in (LOCK, KEPT):
        try:
            if is_hash(hashed := _read(path)):
                return hashed
        except OSError as error:
            log.warning("cannot read %s: %s, ignoring", path, error)
    return ""
