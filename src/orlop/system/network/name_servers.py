"""Name servers that come and go with leases, for containers that have a copy of their file.

The system's own services see /run/orlop/etc. A service in an image of somebody else's has an
/etc/resolv.conf of its own, from when it was started: before there was a lease, as a rule.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orlop.lib.small_file import read_regular
from orlop.system.network import hostname
from orlop.system.services.files import ETC

if TYPE_CHECKING:
    from orlop.engine.engine import Engine

log = logging.getLogger(__name__)

FILE = "resolv.conf"
MAX_BYTES = 64 << 10


async def follow(engine: Engine, directory: str = ETC) -> None:
    """Copy the file to those containers whenever it changes."""
    async for _ in hostname.changes(directory, FILE):
        try:
            copy(engine, read_regular(f"{directory}/{FILE}", MAX_BYTES))
        except OSError as error:
            log.warning("cannot read %s/%s: %s", directory, FILE, error.strerror)


def copy(engine: Engine, data: bytes) -> None:
    """Write *data*, in place, as the containers have that very file mounted."""
    for container in engine.all():
        if not container.config.manage_etc or container.config.network != "host":
            continue
        try:
            (container.layout.etc / FILE).write_bytes(data)
        except OSError as error:
            log.warning("service %s keeps its name servers: %s", container.name, error.strerror)
