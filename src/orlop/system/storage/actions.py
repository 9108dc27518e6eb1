"""What PID 1 does with the configuration of storage: swap, what is kept, growing to the disk.

What a machine is not told of costs it nothing: modules for it are imported when it is there.
"""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.errors import OrlopError
from orlop.system.machine import Phase
from orlop.system.storage import persistence
from orlop.wire.config.mounts import NFS, SWAP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orlop.system.boot import Boot
    from orlop.system.config.configuration import Configuration
    from orlop.system.storage.mounts import Request
    from orlop.system.storage.state import State

    type Warn = Callable[[Configuration, str, Mapping[str, str]], None]

log = logging.getLogger(__name__)

SWAP_TIMEOUT_S = 60.0
PERSIST_TIMEOUT_S = 20.0
"""As for the other directories and small files on a disk that may have ceased to answer."""

GROW_TIMEOUT_S = 600.0
"""A large disk's file system is enlarged block group by block group."""

SHARE_PAUSE_S, SHARE_MAX_PAUSE_S = 5.0, 60.0
"""Between two attempts to mount a share."""

_SWAP_DEVICES = "/run/orlop/swap-devices"  # system.swap_devices, which is imported if it is there


class StorageActions:
    """For the machine of *boot*; *warn* tells people about keys and what is wrong with them."""

    def __init__(self, boot: Boot, warn: Warn) -> None:
        self._boot = boot
        self._warn = warn
        self._growing = False
        self._mounting = asyncio.Lock()
        self._mounted_for: Configuration | None = None
        self.remounted: set[str] = set()
        """Services that have other directories mounted than they should."""

    async def load_modules(self, entries: Sequence[str]) -> dict[str, str]:
        """Modules, of the extras too if there are any; those that were not loaded, and why."""
        from orlop.system import kernel_settings

        problems = await kernel_settings.load_modules(self._boot.children, entries)
        if not problems:
            return problems
        from orlop.system.storage import extras

        try:
            await extras.ensure()
        except OrlopError as error:
            return {entry: f"{why} ({error})" for entry, why in problems.items()}
        with extras.allowed():
            again = [entry for entry in entries if entry in problems]
            return await kernel_settings.load_modules(self._boot.children, again)

    async def mount(self, new: Configuration) -> None:
        """`mounts`. What comes over the network is tried until it works; nobody waits for it."""
        from orlop.system.storage import mounts

        requests = mounts.plan(new.get("mounts"))
        if not requests and not os.path.exists(mounts.MADE):
            return
        starting = self._boot.machine.phase is Phase.STARTING
        wait_s = mounts.WAIT_S if starting else 0.0
        self._mounted_for = new
        async with self._mounting:
            problems = await mounts.apply(
                requests, self._boot.children, wait_s=wait_s, network=not starting
            )
        self._warn(new, "mounts", problems)
        if any(request.fstype in NFS for request in requests):
            self._boot.tasks.start(self._mount_shares(new, requests), "shares of the network")

    async def _mount_shares(self, new: Configuration, requests: Sequence[Request]) -> None:
        from orlop.system.network import online
        from orlop.system.storage import mounts

        await online.wait(online.limit_s(new))
        told: set[str] = set()
        names = {mounts.name_of(r.target) for r in requests if r.fstype in NFS}
        pause_s = SHARE_PAUSE_S
        while self._mounted_for is new:
            async with self._mounting:
                problems = await mounts.apply(requests, self._boot.children, wait_s=0.0)
            self._take_back(names - problems.keys())
            if not problems:
                return
            self._warn(new, "mounts", {k: why for k, why in problems.items() if k not in told})
            told |= problems.keys()
            pause_s = min(2 * pause_s, SHARE_MAX_PAUSE_S)
            await asyncio.sleep(pause_s)

    def _take_back(self, mounted: set[str]) -> None:
        """What was wrong with shares that are *mounted* by now is no warning any more."""
        warnings = self._boot.machine.warnings
        old = tuple(f": configuration: mounts: {name}: " for name in mounted)
        warnings[:] = [text for text in warnings if not any(part in text for part in old)]

    async def swap(self, new: Configuration) -> None:
        """zram, and disks to swap to."""
        await self._swap_to_memory(new)
        listed = new.get("mounts")
        swaps = any(isinstance(e, list) and SWAP in e[2:3] for e in _as_list(listed))
        if not (swaps or new.get("orlop.swap.devices") or os.path.exists(_SWAP_DEVICES)):
            return
        from orlop.system.storage import mounts, swap_devices

        devices = swap_devices.wanted(new.get("orlop.swap.devices"), listed)
        wait_s = mounts.WAIT_S if self._boot.machine.phase is Phase.STARTING else 0.0
        problems = await swap_devices.apply(devices, wait_s=wait_s)
        self._warn(new, "orlop.swap.devices", problems)

    async def _swap_to_memory(self, new: Configuration) -> None:
        value = new.get("orlop.swap.zram")
        if not value and not os.path.isdir("/sys/block/zram0"):
            return
        from orlop.system import kernel_settings
        from orlop.system.storage import zram

        size = zram.size_bytes(value, zram.memory_bytes())
        problems: dict[str, str] = {}
        if not zram.is_there():
            problems = await kernel_settings.load_modules(self._boot.children, [zram.MODULE])
        if not problems:
            try:
                await run_bounded(partial(zram.apply, size), SWAP_TIMEOUT_S)
            except TimeoutError:
                problems = {"zram": f"no answer within {SWAP_TIMEOUT_S:g} s"}
            except OSError as error:
                problems = {"zram": error.strerror or str(error)}
        self._warn(new, "orlop.swap", problems)

    async def persist(self, new: Configuration) -> None:
        """Have the directories that are kept ready for the services that start with them."""
        paths = persistence.wanted(new.get("orlop.persist"))
        try:
            call = partial(persistence.apply, paths)
            changed, problems = await run_bounded(call, PERSIST_TIMEOUT_S)
        except TimeoutError:
            text = f"no answer within {PERSIST_TIMEOUT_S:g} s"
            changed, problems = False, {persistence.DIRECTORY: text}
        if changed and self._boot.machine.phase is not Phase.STARTING:
            self.remounted |= {*persistence.SERVICES}
        self._warn(new, "orlop.persist", problems)

    async def grow(self, new: Configuration) -> None:
        """Begin to let the state grow to its disk; nobody waits for it."""
        state = self._boot.machine.state
        partition = new.get("orlop.state.grow.partition") is not False
        file_system = new.get("orlop.state.grow.filesystem") is not False
        if state is None or state.mode != "disk" or self._growing:
            return
        if partition or file_system:
            self._growing = True
            growing = self._grow(state, partition=partition, file_system=file_system)
            self._boot.tasks.start(growing, "growing of the state")

    async def _grow(self, state: State, *, partition: bool, file_system: bool) -> None:
        from orlop.system.storage import growth

        call = partial(
            growth.grow,
            state.device,
            state.fstype,
            "/var",
            partition=partition,
            file_system=file_system,
        )
        try:
            grown = await run_bounded(call, GROW_TIMEOUT_S)
            if grown is not None:
                before, after = grown.before_bytes >> 20, grown.after_bytes >> 20
                log.warning("the state on %s has grown: %d to %d MiB", grown.device, before, after)
        except TimeoutError:
            self._boot.machine.warn(f"{state.device} does not grow: no answer")
        except (OrlopError, OSError) as error:
            why = getattr(error, "strerror", None) or str(error)
            log.info("%s does not grow: %s", state.device, why)
        finally:
            self._growing = False


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
