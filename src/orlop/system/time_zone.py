"""`timezone`: which file containers have as /etc/localtime. Without one it is UTC's."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument
from orlop.system.services.files import ETC
from orlop.wire import time_zone

if TYPE_CHECKING:
    from datetime import tzinfo

TABLE = "/usr/lib/orlop/timezones"
DEFAULT = "Etc/UTC"


def find(name: str, table: str = TABLE) -> str:
    """The rule of the zone *name*.

    Raises:
        InvalidArgument: there is no such zone; names the nearest one.
    """
    if name == DEFAULT:
        return time_zone.UTC
    try:
        with open(table, encoding="ascii", errors="replace") as stream:
            zones = time_zone.parse_table(stream.read())
    except OSError:
        zones = {}
    if name not in zones:
        from orlop.wire.compose_values import nearest

        guess = nearest(name, list(zones))
        hint = f" (did you mean {guess}?)" if guess else ""
        raise InvalidArgument(f"timezone: there is no time zone {name}{hint}")
    return zones[name]


def clock(name: str, table: str = TABLE) -> tzinfo:
    """What tells the local time in the zone *name*.

    Raises:
        InvalidArgument: as `find`.
    """
    # Else zoneinfo asks sysconfig for a path, which is not in the image; the rules are our own.
    os.environ.setdefault("PYTHONTZPATH", "")
    from zoneinfo import ZoneInfo

    return ZoneInfo.from_file(io.BytesIO(time_zone.tzif(find(name, table))), name)


def apply(name: str, table: str = TABLE, directory: str = ETC) -> None:
    """Write the files of zone *name*, unless they are there.

    Raises:
        InvalidArgument: there is no such zone. OSError: /run is full.
    """
    name = name or DEFAULT
    for file, data in (
        ("timezone", f"{name}\n".encode()),
        ("localtime", time_zone.tzif(find(name, table))),
    ):
        path = Path(directory, file)
        if not os.path.exists(path) or path.read_bytes() != data:
            atomic_file.write_bytes(path, data, durable=False)
