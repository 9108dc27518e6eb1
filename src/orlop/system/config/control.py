"""The configuration in force: read at boot, read again on request, changed through the API.

What the sources say, and what a change makes of them, comes from the worker (`configuration`). The
machine's own document is kept in versions (`config.store`). Sources that are whole are copied, so
that the next boot has something to go on with if one of them is broken by then.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.errors import Conflict, OrlopError, Unavailable
from orlop.system import commands, time_zone
from orlop.system.boot_channel import uptime_s
from orlop.system.config import configuration
from orlop.system.config import files as config_files
from orlop.system.config.actions import ConfigActions
from orlop.system.config.configuration import USER_DATA, Configuration
from orlop.system.config.store import ConfigStore, Texts, boot_id
from orlop.system.machine import Phase
from orlop.system.parameters import configuration_words, consoles
from orlop.system.services import files
from orlop.system.services.services import ServiceState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

LAST, LAST_DELAY_S = frozenset({"ssh"}), 1.0
"""Who made a change over SSH shall have the answer before the session ends."""

SERVICES = "orlop.services"
CONFIGURATION = ": configuration: "
"""What all warnings about a configuration have, but those of files that cannot be read."""

MAX_TRIAL_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Manner:
    """How a change is made: only thought of, or on trial for *confirm_s* (0: for good)."""

    dry_run: bool = False
    confirm_s: float = 0.0


class ConfigControl:
    """Its owner is *boot*, whose services it tells."""

    def __init__(self, boot: Boot, command_line: str) -> None:
        self.current = Configuration()
        self.store = ConfigStore(configuration.BASE)
        self._boot = boot
        self._has_words = bool(configuration_words(command_line))
        self.command_line = command_line
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self.actions: ConfigActions = ConfigActions(boot)

    def sources(self) -> list[str]:
        """What the worker has to read now."""
        if self._boot.machine.parameters.recovery:
            return []
        return self._all_sources(self._root())

    def _all_sources(self, root: str, *, with_own: bool = False) -> list[str]:
        return configuration.sources(
            root,
            command_line=self._has_words,
            cloud=self._boot.cloud.sources(root),
            with_own=with_own,
        )

    def _root(self) -> str:
        state = self._boot.machine.state
        return "/var" if state is None else state.root

    async def start(self) -> None:
        """The first reading."""
        async with self._lock:
            await self._look_after_trial()
            await self._read()

    async def _read(self) -> None:
        await self._use(await configuration.load(self._boot.children, self.sources()))

    async def _use(self, new: Configuration) -> None:
        boot, before = self._boot, self.current
        self.current = boot.conditions.configuration = new
        # What was wrong with the one before is said again if it still is.
        stale = {*before.problems, *before.notices}
        boot.machine.warnings[:] = [
            text
            for text in boot.machine.warnings
            if text not in stale and CONFIGURATION not in f": {text}"
        ]
        for text in (*new.problems, *new.notices):
            boot.machine.warn(text)
        boot.set_hostname(boot.machine.parameters.hostname or new.hostname)
        await self.actions.apply(new)
        if before.services != new.services and boot.machine.phase is not Phase.STARTING:
            await boot.added.follow(before.services)
        if boot.machine.phase is Phase.READY and before.get(SERVICES) != new.get(SERVICES):
            boot.tasks.start(boot.added.complete(), "services of the configuration")

    async def reload(self) -> list[str]:
        """Read the sources again and act on what changed; names of the services affected."""
        async with self._lock:
            await self._read()
            await self._keep_good()
            self._boot.cloud.prepare()
            return await self._tell_services()

    async def _tell_services(self) -> list[str]:
        services = self._boot.services
        changed = [name for name in services.names() if self.write_service(name)]
        later: list[str] = []
        await services.configuration_changed(changed)
        others = {*services.names()} - {*changed, *commands.NAMES}
        remounted = sorted(self.actions.take_remounted() & others)
        for name in remounted:
            if name in LAST:
                later.append(name)
            elif services.status(name).state is ServiceState.RUNNING:
                await services.restart(name)
        if later:
            asyncio.get_running_loop().call_later(LAST_DELAY_S, self._tell_last, later)
        return changed + remounted

    def _tell_last(self, names: list[str]) -> None:
        async def restart() -> None:
            for name in names:
                if self._boot.services.status(name).state is ServiceState.RUNNING:
                    await self._boot.services.restart(name)

        if self._boot.power.requested is None:
            self._boot.tasks.start(restart(), "configuration of services")

    def write_service(self, name: str) -> bool:
        """Write what service *name* is told into its file; whether that is something new."""
        data = self.service_data(name, self.current)
        if data is None:
            return False
        os.makedirs(f"{files.RUN}/config", mode=0o700, exist_ok=True)
        return files.write_configuration(name, data)

    def service_data(self, name: str, of: Configuration) -> dict[str, Json] | None:
        """What *of* tells service *name*; None for one that is told nothing."""
        definition = self._boot.services.definition(name)
        if not definition.config.value or definition.config.value == "none":
            return None
        parameters = self._boot.machine.parameters
        data = files.service_configuration(
            name, of, consoles(parameters, self.command_line), recovery=parameters.recovery
        )
        return data | self._boot.cloud.settings(name)

    # What goes on from one boot, or one program of PID 1, to the next.

    async def _look_after_trial(self) -> None:
        """A version that was on trial when the machine ended is not the
        one to boot with; one that is on trial in this boot still has its time."""
        if self._root() != "/var":
            return
        trial = self.store.trial()  # one small file; a thread would cost more, at every boot
        if trial is None:
            return
        if trial.boot_id == boot_id():
            self._start_timer(trial.deadline_s)
            return
        number = await asyncio.to_thread(self.store.go_back)
        self._boot.machine.warn(
            f"the configuration was not confirmed before the machine ended: version {number} "
            "is in force again"
        )

    async def keep_good(self) -> None:
        """Copy the sources with which the machine has come up, and do what is due then."""
        self.actions.begin_ready()
        async with self._lock:
            await self._keep_good()

    async def _keep_good(self) -> None:
        """Copy what is whole and new; forget what is no source any more: it may hold secrets."""
        if self._root() != "/var":
            return
        pairs = (source.partition(":") for source in self.sources())
        paths = {path for kind, _, path in pairs if kind in ("config", "own")}
        if self.current.cloud:
            paths.add(USER_DATA)
        good = {path: text for path, text in self.current.good.items() if path in paths}
        if good or stale_copies(paths):
            await asyncio.to_thread(_copy, good, paths)

    # Changes.

    async def examine(self, operation: Mapping[str, str]) -> Mapping[str, Json]:
        """What is to be said about a document: what is wrong with it, or how it is written here.

        Raises:
            InvalidArgument: the first error.
        """
        return await configuration.ask_change(self._boot.children, [], operation)

    async def change(self, operation: Mapping[str, str], manner: Manner) -> dict[str, Json]:
        """Change the machine's own document, and act on it; the report of `config.effects`.

        On trial, the version before comes back by itself unless `confirm` is called in time.

        Raises:
            InvalidArgument, NotFound: the change is wrong, and nothing has changed.
            Conflict: another one waits to be confirmed.
            Unavailable: the machine cannot keep it.
        """
        async with self._lock:
            answer = await configuration.ask_change(
                self._boot.children, self._sources_of_change(), operation
            )
            new = configuration.parse_answer(answer)
            if (name := new.get("timezone")) != self.current.get("timezone"):
                time_zone.find(str(name or time_zone.DEFAULT))
            config_files.refuse_new(new.get("write_files"), self.current.get("write_files"))
            from orlop.system.config import effects

            report = effects.report(self, self._boot, new)
            report["changed"] = answer["changed"]
            report["shadowed"] = answer["shadowed"]
            report["version"] = self.store.current() or None
            if manner.dry_run or not answer["changed"]:
                return report
            texts = answer["texts"]
            assert isinstance(texts, dict)
            old = Texts(str(texts["old"]), str(texts["old_secret"]))
            text = Texts(str(texts["new"]), str(texts["new_secret"]))
            report["version"] = await self._put_in_force(old, text, manner.confirm_s)
            await self._act_on(new)
            return report

    def _sources_of_change(self) -> list[str]:
        """The sources, with the own document among them even if there is none yet."""
        if self._boot.machine.parameters.recovery:
            raise Unavailable("there is no configuration in recovery mode")
        if self._root() != "/var":
            raise Unavailable("the state partition can only be read")
        return self._all_sources("/var", with_own=True)

    async def _put_in_force(self, old: Texts, new: Texts, confirm_s: float) -> int:
        if self._timer is not None:
            raise Conflict(
                "the last change waits to be confirmed",
                hint="orlop config confirm, or orlop config rollback",
            )

        def work() -> int:
            store = self.store
            store.adopt(old)
            number = store.add(new)
            if confirm_s:
                store.begin_trial(store.current(), uptime_s() + confirm_s)
            store.switch(number)
            store.prune()
            return number

        try:
            number = await asyncio.to_thread(work)
        except OSError as error:
            raise Unavailable(f"cannot keep the configuration: {error.strerror}") from error
        if confirm_s:
            self._start_timer(uptime_s() + confirm_s)
        return number

    async def _act_on(self, new: Configuration) -> None:
        await self._use(new)
        await self._keep_good()
        self._boot.cloud.prepare()
        await self._tell_services()

    async def confirm(self) -> int:
        """Let what is on trial stay; its version.

        Raises:
            Conflict: nothing is on trial.
        """
        async with self._lock:
            if self._timer is None:
                raise Conflict("there is nothing to confirm")
            await asyncio.to_thread(self.store.end_trial)
            self._stop_timer()
            return self.store.current()

    async def rollback(self, number: int, manner: Manner) -> dict[str, Json]:
        """Put the texts of version *number* in force again, as a new version; 0: the one before.

        What is on trial ends at once with that.

        Raises:
            NotFound: there is no such version.
        """
        if self._timer is not None and not number and not manner.dry_run:
            return {"changed": True, "version": await self._go_back()}
        current = self.store.current()
        if not number:
            number = max((v.number for v in self.store.versions() if v.number < current), default=0)
        texts = self.store.read(number)
        operation = {"verb": "replace", "text": texts.public, "name": f"version {number}"}
        operation["secret"] = texts.secret
        return await self.change(operation, manner)

    def _start_timer(self, deadline_s: float) -> None:
        self._stop_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(
            max(0.0, deadline_s - uptime_s()),
            lambda: self._boot.tasks.start(self._time_out(), "configuration's trial"),
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    async def _time_out(self) -> None:
        try:
            number = await self._go_back()
        except (OrlopError, OSError) as error:
            self._boot.machine.warn(f"cannot go back to the configuration before: {error}")
            return
        if number:  # else somebody was just in time to confirm
            self._boot.machine.warn(
                f"the configuration was not confirmed: version {number} is in force again"
            )

    async def _go_back(self) -> int:
        async with self._lock:
            self._stop_timer()
            number = await asyncio.to_thread(self.store.go_back)
            new = await configuration.load(self._boot.children, self.sources())
            await self._act_on(replace(new, notices=()))
            return number


def stale_copies(paths: set[str], base: str = configuration.BASE) -> list[str]:
    """The copies of what is none of the sources *paths*."""
    directory = os.path.dirname(configuration.copy_path("", base))
    kept = {configuration.copy_path(path, base) for path in paths}
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [path for name in names if (path := f"{directory}/{name}") not in kept]


def _copy(good: Mapping[str, str], paths: set[str]) -> None:
    """A disk that takes no copy is mentioned in the log: the machine does without."""
    for path, text in good.items():
        copy = Path(configuration.copy_path(path, configuration.BASE))
        try:
            os.makedirs(copy.parent, mode=0o700, exist_ok=True)
            atomic_file.write_text(copy, text, mode=0o600)
        except OSError as error:
            log.warning("cannot keep a copy of %s: %s", path, error.strerror)
    for stale in stale_copies(paths):
        try:
            os.unlink(stale)
        except OSError as error:
            log.warning("cannot remove %s: %s", stale, error.strerror)
