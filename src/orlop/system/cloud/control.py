"""What PID 1 has to do with data sources, in the course of a boot.

It reads no more than the firmware's names and the head of each disk. A seed disk's content is read
by a worker (`cloud.seed_worker`), a metadata service's answers by the service `cloud`, which starts
only if there is something to ask. Both leave one file with an answer; the configuration worker
reads it.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.errors import OrlopError
from orlop.system.cloud import seed_disk
from orlop.system.config.configuration import USER_DATA, as_list, ask, copy_path
from orlop.system.network import hostname
from orlop.system.services import definitions
from orlop.system.storage import tpm_lock
from orlop.wire.cloud import firmware

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from orlop.system.boot import Boot
    from orlop.system.cloud.seed_disk import Seed
    from orlop.system.config.configuration import Configuration
    from orlop.wire.compose_model import Json

SERVICE = "cloud"
DMI = "/sys/class/dmi/id"
RUN = "/run/orlop"
CACHE_DIRECTORY = "lib/orlop/cloud"
ANSWER = "answer.json"

INLINE = "orlop.config.inline="
POINTERS = ("orlop.config.url=", "cloud-config-url=", firmware.NOCLOUD)
"""What the kernel command line has where it points to a source."""

WORKER_TIMEOUT_S = 30.0


class CloudControl:
    """Its owner is *boot*, whose configuration is read again when there is an answer."""

    def __init__(self, boot: Boot, command_line: str, run: str = RUN, dmi: str = DMI) -> None:
        self._boot = boot
        self._command_line = command_line
        self.directory = f"{run}/cloud"
        """The service's. It exists when there is something to ask: the service's condition."""
        self._seed_file = f"{run}/seed/{ANSWER}"
        self._dmi_directory = dmi
        self._dmi: dict[str, str] | None = None
        self._seen: set[Seed] = set()
        self._settings: dict[str, Json] = {}
        self.asked: tuple[str, ...] = ()
        """The sources that the service asks."""
        self._is_following = False

    def sources(self, root: str) -> list[str]:
        """What the configuration worker has to read, the most recent answer first.

        *root* is where the state is. An answer of an earlier boot counts until there is a newer.
        """
        answers = (
            ("cloud", f"{self.directory}/{ANSWER}"),
            ("cloud", self._seed_file),
            ("cached", f"{root}/{CACHE_DIRECTORY}/{ANSWER}"),
        )
        copy = copy_path(USER_DATA, f"{root}/lib/orlop")
        has_copy = [f"good:{copy}"] if os.path.exists(copy) else []
        found: list[str] = []
        for kind, path in answers:
            if os.path.exists(path):
                found += [f"{kind}:{path}", *has_copy]
        if INLINE in self._command_line:
            found.append("inline:/proc/cmdline")
        return found

    def settings(self, name: str) -> dict[str, Json]:
        """What service *name* is told besides its part of the configuration."""
        return self._settings if name == SERVICE else {}

    # Disks.

    @property
    def trusts_no_disk(self) -> bool:
        """Whether a disk counts only if the configuration names its source. Nobody who has the
        machine in their hands is to be let in by a stick, where the TPM opens the state."""
        return os.path.exists(tpm_lock.BY_TPM)

    async def look(self, cold_plug: Awaitable[object], *, again: bool = False) -> bool:
        """Look for seed disks, and have a new one read; whether there was one.

        It is read when *cold_plug* has ended: the network in it is of interfaces that are there.
        *again*: the configuration has been read, and says what is trusted.
        """
        if self._boot.machine.parameters.recovery or (self.trusts_no_disk and not again):
            return False
        found = [seed for seed in await seed_disk.find_seeds() if seed not in self._seen]
        self._seen.update(found)
        new = [seed for seed in found if self._is_for_us(seed)]
        if new and (reason := self._reason_to_ignore(new[0])):
            self._boot.machine.warn(f"the seed disk {new[0][-1]} is ignored: {reason}")
            return False
        if not new or os.path.exists(self._seed_file):
            return False
        for _, _, device in new[1:]:
            self._boot.machine.warn(f"{device} is another seed disk, ignoring it")
        await cold_plug
        await self._read(new[0])
        return True

    def _reason_to_ignore(self, seed: Seed) -> str:
        if self._boot.machine.parameters.state_sealed:
            return "orlop.state.sealed"
        from orlop.wire.cloud.candidates import parse_names

        named = as_list(self._boot.config.current.get("orlop.cloud.datasources"))
        if self.trusts_no_disk and seed[0] not in parse_names(map(str, named))[0]:
            return f"the TPM opens the state, and orlop.cloud.datasources does not name {seed[0]}"
        return ""

    def _is_for_us(self, seed: Seed) -> bool:
        return seed[0] != seed_disk.AZURE or seed[0] in firmware.plausible(self._read_dmi())

    async def _read(self, seed: Seed) -> None:
        try:
            answer = await ask(self._boot.children, ["seed", *seed], WORKER_TIMEOUT_S)
            path = Path(self._seed_file)
            os.makedirs(path.parent, mode=0o755, exist_ok=True)
            # For the service too, which is nobody; no other container has this directory.
            await asyncio.to_thread(atomic_file.write_bytes, path, answer, durable=False)
        except (OrlopError, OSError) as error:
            reason = str(error) or "no answer"
            self._boot.machine.warn(f"the seed disk {seed[-1]} cannot be read: {reason}")

    async def look_again(self, cold_plug: Awaitable[object]) -> None:
        """Look for what came with drivers that were still being loaded the first time."""
        if await self.look(cold_plug, again=True):
            await self._take_over()

    # Services in the network.

    def prepare(self) -> None:
        """Decide which sources are asked, and wait for what they say if there are any."""
        boot = self._boot
        if SERVICE not in boot.services.names() or boot.machine.parameters.recovery:
            return
        if not self._points_to_one(boot.config.current):
            return
        try:
            self._choose(definitions.owner(boot.services.definition(SERVICE)))
        except OSError as error:
            boot.machine.warn(f"data sources are not asked: {error}")
        if self.asked and not self._is_following:
            self._is_following = True
            boot.tasks.start(self._follow(), "data sources")

    def _points_to_one(self, configuration: Configuration) -> bool:
        dmi = self._read_dmi()
        return bool(
            self.asked
            or configuration.cloud
            or configuration.is_configured("orlop.cloud")
            or any(word in self._command_line for word in POINTERS)
            or dmi.get("product_serial", "").startswith(firmware.NOCLOUD)
            or firmware.plausible(dmi)
        )

    def _choose(self, owner: tuple[int, int]) -> None:
        from orlop.system.cloud import sources as cloud

        dmi = self._read_dmi()
        has_seed = os.path.exists(self._seed_file)
        found = cloud.choose(
            dmi, self._command_line, self._boot.config.current, self.asked, has_seed=has_seed
        )
        self._settings = cloud.settings(found, dmi)
        if found.network:
            cloud.make_directory(self.directory, owner)
            os.makedirs(os.path.dirname(self._seed_file), mode=0o755, exist_ok=True)
        self.asked = found.network

    def _read_dmi(self) -> dict[str, str]:
        if self._dmi is None:
            self._dmi = read_dmi(self._dmi_directory)
        return self._dmi

    async def _follow(self) -> None:
        async for _ in hostname.changes(self.directory, ANSWER):
            if self._boot.power.requested is None:
                await self._take_over()

    async def _take_over(self) -> None:
        """Let a new answer be in force, with its commands; no failure ends the waiting for more."""
        boot = self._boot
        before = boot.config.current
        try:
            await boot.config.reload()
            await boot.config.actions.follow_answer(before)
        except Exception as error:  # noqa: BLE001 - the next answer may be better
            boot.machine.warn(f"cannot take over what a data source says: {error}")


def read_dmi(directory: str = DMI) -> dict[str, str]:
    """What the firmware says about the machine; empty where there is no such table."""
    found: dict[str, str] = {}
    for key in firmware.KEYS:
        try:
            with open(f"{directory}/{key}", encoding="utf-8", errors="replace") as stream:
                found[key] = stream.read(256).strip()
        except OSError:
            continue
    return found
