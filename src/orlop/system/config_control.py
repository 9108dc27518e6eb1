"""The configuration in force: read at boot, read again on request, and handed to who needs it.

What the sources say comes from the worker (`configuration`). Sources that are whole are copied, so
that the next boot has something to go on with if one of them is broken by then.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.system import configuration, service_files
from orlop.system.configuration import Configuration
from orlop.system.parameters import configuration_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.system.boot import Boot

log = logging.getLogger(__name__)


class ConfigControl:
    """Its owner is *boot*, whose services it tells."""

    def __init__(self, boot: Boot, command_line: str) -> None:
        self.current = Configuration()
        self._boot = boot
        self._has_words = bool(configuration_words(command_line))

    def sources(self) -> list[str]:
        """What the worker has to read now."""
        if self._boot.machine.parameters.recovery:
            return []
        return configuration.sources(self._root(), command_line=self._has_words)

    def _root(self) -> str:
        state = self._boot.machine.state
        return "/var" if state is None else state.root

    async def read(self) -> None:
        """Read the sources, and let what they say be in force."""
        self._use(await configuration.load(self._boot.children, self.sources()))

    def _use(self, new: Configuration) -> None:
        boot = self._boot
        self.current = boot.conditions.configuration = new
        for text in (*new.problems, *new.notices):
            boot.machine.warn(text)
        boot.set_hostname(boot.machine.parameters.hostname or new.hostname)

    async def reload(self) -> list[str]:
        """Read the sources again and act on what changed; names of the services affected."""
        await self.read()
        await self.keep_good()
        return await self._tell_services()

    async def _tell_services(self) -> list[str]:
        services = self._boot.services
        changed = [name for name in services.names() if self.write_service(name)]
        await services.configuration_changed(changed)
        return changed

    def write_service(self, name: str) -> bool:
        """Write what service *name* is told into its file; whether that is something new."""
        definition = self._boot.services.definition(name)
        if not definition.config.value or definition.config.value == "none":
            return False
        data = service_files.service_configuration(
            name,
            self.current,
            self._boot.consoles(),
            recovery=self._boot.machine.parameters.recovery,
        )
        os.makedirs(f"{service_files.RUN}/config", mode=0o700, exist_ok=True)
        return service_files.write_configuration(name, data)

    async def keep_good(self) -> None:
        """Copy the sources with which the machine has come up. A disk that takes no copy is
        mentioned in the log: the machine does without."""
        if self.current.good and self._root() == "/var":
            await asyncio.to_thread(_copy, self.current.good)


def _copy(good: Mapping[str, str]) -> None:
    for path, text in good.items():
        copy = Path(configuration.copy_path(path, configuration.BASE))
        try:
            os.makedirs(copy.parent, mode=0o700, exist_ok=True)
            atomic_file.write_text(copy, text, mode=0o600)
        except OSError as error:
            log.warning("cannot keep a copy of %s: %s", path, error.strerror)
