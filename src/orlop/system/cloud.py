"""What PID 1 has to do with data sources: decide which are plausible, and find seed disks.

It reads no more than the firmware's names and the head of each disk. A seed disk's content is read
by a worker (`seed_worker`), a metadata service's answers by the service `cloud`, which starts only
if there is something to ask. Both leave one file with an answer; the configuration worker reads it.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.blocking import run_bounded
from orlop.lib.errors import OrlopError
from orlop.system import block_devices
from orlop.system.configuration import ask
from orlop.system.parameters import split_command_line
from orlop.system.seed_disk import Seed, read_seed
from orlop.wire.cloud import candidates

if TYPE_CHECKING:
    from orlop.lib.children import Children
    from orlop.system.configuration import Configuration
    from orlop.wire.compose_model import Json

SERVICE = "cloud"
DMI = "/sys/class/dmi/id"
SEED_DIRECTORY = "/run/orlop/seed"
DIRECTORY = "/run/orlop/cloud"
"""The service's. It exists when there is something to ask, which is the service's condition."""
CACHE_DIRECTORY = "lib/orlop/cloud"
ANSWER = "answer.json"

INLINE = "orlop.config.inline"
PROBE_TIMEOUT_S = 5.0
WORKER_TIMEOUT_S = 30.0
SEED_ONLY = ("seed",)
"""For the service: only what the user data of the seed disk includes by URL is to be fetched."""


@dataclass(slots=True)
class Cloud:
    """The machine's data sources. The directories are fields for tests."""

    command_line: str = ""
    dmi_directory: str = DMI
    seed_directory: str = SEED_DIRECTORY
    directory: str = DIRECTORY
    found: candidates.Candidates = field(default_factory=candidates.Candidates)
    _dmi: dict[str, str] = field(default_factory=dict)
    _seen: set[Seed] = field(default_factory=set)

    async def look(self, children: Children) -> list[str] | None:
        """Look for seed disks that were not there before, and have the first one read.

        Returns None when there is none, else what is wrong with it: mostly nothing.
        """
        new = [seed for seed in await find_seeds() if seed not in self._seen]
        self._seen.update(new)
        if not new or os.path.exists(f"{self.seed_directory}/{ANSWER}"):
            return None
        problems = [f"{seed.device} is another seed disk, ignoring it" for seed in new[1:]]
        try:
            words = ["seed", new[0].source, new[0].fstype, new[0].device]
            answer = await ask(children, words, WORKER_TIMEOUT_S)
            os.makedirs(self.seed_directory, mode=0o755, exist_ok=True)
            path = Path(self.seed_directory, ANSWER)
            # For the service too, which is nobody; no other container has this directory.
            await asyncio.to_thread(atomic_file.write_bytes, path, answer, durable=False)
        except (OrlopError, OSError, TimeoutError) as error:
            text = str(error) or "no answer"
            problems.append(f"the seed disk {new[0].device} cannot be read: {text}")
        return problems

    def sources(self, root: str) -> list[str]:
        """What the configuration worker has to read, the most recent answer first.

        *root* is where the state is. An answer of an earlier boot counts until there is a newer.
        """
        found = [
            f"{kind}:{path}/{ANSWER}"
            for kind, path in (
                ("cloud", self.directory),
                ("cloud", self.seed_directory),
                ("cached", f"{root}/{CACHE_DIRECTORY}"),
            )
            if os.path.exists(f"{path}/{ANSWER}")
        ]
        if f"{INLINE}=" in self.command_line:
            found.append("inline:/proc/cmdline")
        return found

    def choose(self, configuration: Configuration, owner: tuple[int, int]) -> candidates.Candidates:
        """Decide which sources are to be asked, now that *configuration* is known.

        If there are any, makes the directory for what they say, which belongs to *owner*.
        """
        if not self._dmi:
            self._dmi = read_dmi(self.dmi_directory)
        wanted, url = candidates.wanted_names(configuration.data)
        parameters = split_command_line(self.command_line)
        found = candidates.choose(self._dmi, parameters, wanted, url)
        if os.path.exists(f"{self.seed_directory}/{ANSWER}") and _uses_disk(configuration):
            # What is on a disk is the machine's own: nobody else is asked.
            needed = configuration.cloud.get("includes") or self.found.network == SEED_ONLY
            found = replace(found, network=SEED_ONLY if needed else ())
        if found.network:
            make_directory(self.directory, owner)
            os.makedirs(self.seed_directory, mode=0o755, exist_ok=True)
        self.found = found
        return found

    def settings(self) -> dict[str, Json]:
        """What the service is told."""
        return {
            "sources": [*self.found.network],
            "seed": dict(self.found.seed),
            "url": self.found.url,
            "serial": self._dmi.get("product_serial", ""),
            "machine": self._dmi.get("product_uuid", "").lower(),
        }


def _uses_disk(configuration: Configuration) -> bool:
    return configuration.cloud.get("source") in candidates.DISK_SOURCES


def read_dmi(directory: str = DMI) -> dict[str, str]:
    """What the firmware says about the machine; empty where there is no such table."""
    found: dict[str, str] = {}
    for key in candidates.DMI_KEYS:
        try:
            with open(f"{directory}/{key}", encoding="utf-8", errors="replace") as stream:
                found[key] = stream.read(256).strip()
        except OSError:
            continue
    return found


def make_directory(path: str, owner: tuple[int, int]) -> None:
    """Make *path*, for *owner* to write to."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return
    os.chown(path, *owner)


async def find_seeds() -> list[Seed]:
    """All seed disks that are there, in a stable order."""

    async def one(name: str) -> Seed | None:
        device = f"/dev/{name.replace('!', '/')}"
        try:
            return await run_bounded(partial(read_seed, device), PROBE_TIMEOUT_S)
        except TimeoutError:
            return None

    names = block_devices.candidates(optical=True)
    return [seed for seed in await asyncio.gather(*map(one, names)) if seed is not None]
