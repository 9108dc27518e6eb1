"""Two disks of which the second was whole when the installation on both was interrupted.

The machine starts from that one, and the mark of the first names its table (`install.plan`). What
is lacking is what a new half lacks, and nobody has to say that it may be made: it was said.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError
from orlop.system.install.disks import Content
from orlop.system.install.plan import STATE_NUMBER
from orlop.system.install.target import partition_of
from orlop.system.storage import mirror

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

LOOKS, LOOK_AGAIN_S = 30, 10.0
"""The boot partition may be needed for something else, a trial for example."""


def find(disks: Sequence[Json], whole: Collection[str]) -> str:
    """The one of *disks* (`install.disks.to_json`) whose mark names the table of that which has one
    of the partitions *whole*; empty if there is none; pure."""
    known = [disk for disk in disks if isinstance(disk, dict)]
    tables = {
        disk["guid"]
        for disk in known
        if partition_of(str(disk["device"]), STATE_NUMBER) in whole and disk["guid"]
    }
    begun = [disk for disk in known if disk["content"] == Content.UNFINISHED.value]
    return next((str(disk["name"]) for disk in begun if disk["waits_for"] in tables), "")


async def finish(boot: Boot, state_device: str) -> None:
    """Make such a disk the half that the state's mirror lacks, if there is one.

    Whoever wants to may follow it as an installation.
    """
    installer = boot.config.actions.installer
    error = ""
    for _ in range(LOOKS):
        found = mirror.of_state(state_device)
        if found is None or not found.missing:
            return
        try:
            name = find(await installer.disks(), found.whole)
            if not name:
                return
            log.warning("the installation on %s was interrupted, and is finished now", name)
            error = ""
            async for event in installer.add_half(name, wipe=False).follow():
                error = str(event.get("error") or error)
            if not error:
                return
        except OrlopError as problem:  # something else goes on
            error = str(problem)
        await asyncio.sleep(LOOK_AGAIN_S)
    boot.machine.warn(f"the installation on two disks cannot be finished: {error}")
