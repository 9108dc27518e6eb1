"""Data sources in the course of a boot: when disks are looked at, and what an answer sets off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.system import definitions, hostname
from orlop.system.cloud import ANSWER, SERVICE, Cloud

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json


class CloudControl:
    """Its owner is *boot*, whose configuration is read again when there is an answer."""

    def __init__(self, boot: Boot, command_line: str) -> None:
        self._boot = boot
        self._cloud = Cloud(command_line)
        self._is_following = False

    @property
    def asked(self) -> tuple[str, ...]:
        """The sources that the service asks."""
        return self._cloud.found.network

    def sources(self, root: str) -> list[str]:
        """See `Cloud.sources`."""
        return self._cloud.sources(root)

    def settings(self, name: str) -> dict[str, Json]:
        """What service *name* is told besides its part of the configuration."""
        return self._cloud.settings() if name == SERVICE else {}

    async def look(self) -> bool:
        """Look for seed disks; whether one was found that was not there before."""
        if self._boot.machine.parameters.recovery:
            return False
        problems = await self._cloud.look(self._boot.children)
        for problem in problems or ():
            self._boot.machine.warn(problem)
        return problems is not None

    async def look_again(self) -> None:
        """Look for what came with drivers that were still being loaded the first time."""
        if await self.look():
            await self._boot.config.reload()

    def prepare(self) -> None:
        """Decide which sources are asked, and wait for what they say if there are any."""
        boot = self._boot
        if SERVICE not in boot.services.names() or boot.machine.parameters.recovery:
            return
        owner = definitions.owner(boot.services.definition(SERVICE))
        try:
            found = self._cloud.choose(boot.config.current, owner)
        except OSError as error:
            boot.machine.warn(f"data sources are not asked: {error}")
            return
        if found.network and not self._is_following:
            self._is_following = True
            boot.tasks.start(self._follow(), "data sources")

    async def _follow(self) -> None:
        async for _ in hostname.changes(self._cloud.directory, ANSWER):
            if self._boot.power.requested is None:
                await self._boot.config.reload()
