"""What PID 1 itself does with the configuration: modules, settings of the kernel, files, commands.

A machine that is told nothing of these does not pay for a thread.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.system import commands, kernel_settings, people_control, recovery, time_zone
from orlop.system.config import files as config_files
from orlop.system.config.configuration import as_list, as_map
from orlop.system.config.store import boot_id
from orlop.system.machine import Phase
from orlop.system.network import proxy_files
from orlop.system.storage import swap
from orlop.system.storage.actions import StorageActions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.system.boot import Boot
    from orlop.system.config.configuration import Configuration
    from orlop.system.install.install import Installer


SHUTDOWN_PARAMETER = "orlop.shutdown.timeout"
KEEP_TIMEOUT_S = 20.0
SWAP_TIMEOUT_S = 60.0
"""What is in the file has to be read back when it goes."""


class ConfigActions:
    """For the machine of *boot*."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._modules: set[str] = set()
        self._remounted: set[str] = set()
        self._installs = False
        self.storage = StorageActions(boot, self._warn)

    @functools.cached_property
    def installer(self) -> Installer:
        """What installs the system on a disk; most machines have been installed."""
        from orlop.system.install.install import Installer

        return Installer(self._boot)

    async def apply(self, new: Configuration) -> None:
        """Make the machine as *new* says; what cannot be is a warning, and the rest goes on."""
        self._set_shutdown_timeout(new)
        debug = self._boot.machine.parameters.debug or new.get("orlop.debug") is True
        logging.getLogger("orlop").setLevel(logging.DEBUG if debug else logging.INFO)
        steps = (
            self._people,
            self._load_modules,
            self._set_sysctls,
            self._set_time_zone,
            self.storage.mount,
        )
        storage = (self._swap, self.storage.swap, self.storage.persist, self.storage.grow)
        for step in (*steps, *storage, self._keep_recovery_lock, self._write_files):
            try:
                await step(new)
            except (OrlopError, OSError) as error:
                self._boot.machine.warn(f"configuration: {error}")
        if self._boot.machine.phase is Phase.STARTING:
            self._boot.conditions.has_run = self._has_run(new)
        await self._boot.firewall.follow()

    async def _people(self, new: Configuration) -> None:
        await people_control.apply(self._boot, new)

    def _set_shutdown_timeout(self, new: Configuration) -> None:
        """What is configured, unless the kernel parameter says it."""
        parameters = self._boot.machine.parameters
        if all(name != SHUTDOWN_PARAMETER for name, _ in parameters.values):
            wanted = new.get("orlop.shutdown_timeout")
            seconds = wanted if isinstance(wanted, int) else type(parameters)().shutdown_s
            self._boot.machine.parameters = replace(parameters, shutdown_s=seconds)

    async def _load_modules(self, new: Configuration) -> None:
        modules = [str(name) for name in as_list(new.get("orlop.modules"))]
        fresh = [name for name in modules if name not in self._modules]
        problems = await self.storage.load_modules(fresh)
        self._modules.update({*fresh} - problems.keys())
        self._warn(new, "orlop.modules", problems)

    async def _set_sysctls(self, new: Configuration) -> None:
        wanted = as_map(new.get("orlop.sysctl"))
        if wanted or os.path.exists(kernel_settings.BEFORE):
            values = {name: str(value) for name, value in wanted.items()}
            found = await asyncio.to_thread(kernel_settings.apply_sysctls, values)
            self._warn(new, "orlop.sysctl", found)

    async def _set_time_zone(self, new: Configuration) -> None:
        try:
            time_zone.apply(str(new.get("timezone") or ""))
        except InvalidArgument as error:
            self._boot.machine.warn(f"{new.origins.get('timezone')}: configuration: {error}")

    async def _swap(self, new: Configuration) -> None:
        size = new.get("swap.size")
        size_bytes = size if isinstance(size, int) else 0
        if not size_bytes and not os.path.exists(swap.FILE):
            return
        try:
            if size_bytes:
                swap.refuse_without_disk(self._boot.machine.state)
            await run_bounded(partial(swap.apply, size_bytes), SWAP_TIMEOUT_S)
        except TimeoutError:
            self._warn(new, "swap", {"size": f"no answer within {SWAP_TIMEOUT_S:g} s"})
        except (OrlopError, OSError) as error:
            self._warn(new, "swap", {"size": getattr(error, "strerror", None) or str(error)})

    async def _write_files(self, new: Configuration) -> None:
        files, sentences = planned_files(new)
        if files or os.path.exists(config_files.DIRECTORY):
            remounted, more = await asyncio.to_thread(config_files.write, files)
            if self._boot.machine.phase is not Phase.STARTING:
                self._remounted |= remounted
            sentences += more
        for text in sentences:
            self._boot.machine.warn(f"{new.origins.get('write_files')}: configuration: {text}")

    async def _keep_recovery_lock(self, new: Configuration) -> None:
        if new.is_configured(recovery.KEY) or os.path.exists(recovery.KEPT):
            try:
                await run_bounded(partial(recovery.keep, new), KEEP_TIMEOUT_S)
            except TimeoutError:
                self._warn(new, recovery.KEY, {"kept": f"no answer within {KEEP_TIMEOUT_S:g} s"})

    def _has_run(self, of: Configuration) -> str:
        when = str(of.get("orlop.runcmd") or "instance")
        return commands.has_run(when, self.instance(of))

    def _warn(self, new: Configuration, key: str, problems: Mapping[str, str]) -> None:
        for name, reason in problems.items():
            origin = new.origins.get(f"{key}.{name}") or new.origins.get(key)
            self._boot.machine.warn(f"{origin}: configuration: {key}: {name}: {reason}")

    def take_remounted(self) -> set[str]:
        """The services whose files are others than those they have mounted; asked once."""
        found, self._remounted = self._remounted | self.storage.remounted, set()
        self.storage.remounted = set()
        return found

    def instance(self, of: Configuration) -> str:
        """What tells this instance from others.

        A data source knows; else it is the state partition, or this boot without one.
        """
        if source := of.cloud.get("source"):
            return f"{source}:{of.cloud.get('instance_id')}"
        state = self._boot.machine.state
        return state.uuid if state is not None and state.uuid else boot_id()

    async def follow_commands(self) -> None:
        """Note that `runcmd` has run, when it has."""
        boot = self._boot
        if commands.RUNCMD not in boot.services.names() or boot.conditions.has_run:
            return
        try:
            await boot.services.wait_up(commands.RUNCMD)
            await boot.engine.wait(commands.RUNCMD)
            await asyncio.to_thread(commands.note_run, self.instance(boot.config.current))
        except (OrlopError, OSError) as error:
            boot.machine.warn(f"it cannot be noted that runcmd has run: {error}")

    def begin_ready(self) -> None:
        """The machine is ready: what is to be said or done then, if anything."""
        current = self._boot.config.current
        if current.is_configured("final_message"):
            from orlop.system import last_words

            last_words.say(self._boot.machine, current)
        self._follow_last_words(current)
        self._follow_install()

    def _follow_install(self) -> None:
        """Install the system if that is asked for; once in a boot."""
        boot = self._boot
        parameters, state = boot.machine.parameters, boot.machine.state
        asked = parameters.install or boot.config.current.is_configured("orlop.install.disk")
        if not asked or parameters.recovery or self._installs:
            return
        from orlop.system.install import unattended

        disks = unattended.wanted_disks(
            boot.config.current,
            parameters.install,
            boot.config.command_line,
            has_state=state is not None and bool(state.device),
        )
        if disks:
            self._installs = True
            boot.tasks.start(unattended.run(boot, disks), "unattended installation")

    def _follow_last_words(self, new: Configuration, before: Configuration | None = None) -> None:
        """What *new* wants done at last, unless it was to be done *before* already."""
        tasks, calling = self._boot.tasks, None
        home, end = (
            new.is_configured(key) and not (before and before.is_configured(key))
            for key in ("phone_home", "power_state")
        )
        if home:
            from orlop.system.cloud import phone_home

            calling = tasks.start(phone_home.call(self._boot), "phone_home")
        if end:
            from orlop.system import last_words

            tasks.start(last_words.end_machine(self._boot, calling), "power_state")

    async def follow_answer(self, before: Configuration) -> None:
        """A data source has answered when services were running: its commands come now.

        Commands that were there *before* have run in this boot, and count as run on the instance
        that the machine turns out to be.
        """
        boot = self._boot
        new, there = boot.config.current, boot.services.names()
        if boot.machine.phase is not Phase.STARTING:
            self._follow_install()
            self._follow_last_words(new, before)
        if {*there} >= {*commands.wanted(new)}:
            had_run = commands.has_run("instance", self.instance(before))
            if commands.RUNCMD in there and had_run:
                await asyncio.to_thread(commands.note_run, self.instance(new))
            return
        boot.conditions.has_run = self._has_run(new)
        boot.define_services()
        boot.services.start_all()
        if commands.RUNCMD not in there:
            boot.tasks.start(self.follow_commands(), "runcmd")


def planned_files(of: Configuration) -> tuple[list[config_files.File], list[str]]:
    """The files that *of* wants, and what about them cannot be."""
    files, problems = config_files.plan(of.get("write_files"))
    trusted = [str(text) for text in as_list(of.get("ca_certs.trusted"))]
    if trusted:
        # sshd's program asks by HTTPS only if there is somebody to ask.
        asks = ("ssh",) if of.is_configured("orlop.ssh.authorized_keys_url") else ()
        files += config_files.authorities(trusted, (*config_files.BELIEVERS, *asks))
    files += config_files.host_keys(of.get("orlop.ssh.host_keys"))
    files += proxy_files.files(of)
    return files + commands.files(commands.scripts(of)), problems
