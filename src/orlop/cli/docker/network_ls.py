"""`docker network ls`."""

from __future__ import annotations

from orlop.cli.docker import human
from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import BOOL, FILTER, STRING, Flag
from orlop.cli.docker.listing import Row, filters_query, labels_text, listing
from orlop.cli.docker.ps import FORMAT_HELP
from orlop.cli.docker.session import query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("filter", "f", FILTER, "only those that match: NAME=VALUE"),
    Flag("format", "", STRING, FORMAT_HELP),
    Flag("no-trunc", "", BOOL, "show all of each value"),
    Flag("quiet", "q", BOOL, "only ids"),
)


def run(session: Session, values: Values) -> int:
    found = session.get_objects("/networks" + query(filters=filters_query(values.many("filter"))))
    form = values.text("format")
    if not form and not values.flag("quiet"):
        form = session.config_text("networksFormat")
    rows = [
        Row(each, FIELDS, "network.networkContext", trunc=not values.flag("no-trunc"))
        for each in sorted(found, key=lambda each: natural_key(str(each.get("Name", ""))))
    ]
    if values.flag("quiet") and form in ("", "table"):
        print("".join(f"{_id(row)}\n" for row in rows), end="")
        return 0
    listing(rows, FIELDS, form, ("ID", "Name", "Driver", "Scope"))
    return 0


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """An order in which `net2` comes before `net10`."""
    parts: list[str] = []
    for char in text:
        if parts and parts[-1][-1].isdigit() == char.isdigit():
            parts[-1] += char
        else:
            parts.append(char)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def _id(row: Row) -> str:
    identifier = str(row.data.get("Id", ""))
    return human.short_id(identifier) if row.trunc else identifier


def _flag(row: Row, key: str) -> str:
    return "true" if row.data.get(key) else "false"


def _created(row: Row) -> str:
    from orlop.cli.docker.events import go_time

    return go_time(str(row.data.get("Created") or "0001-01-01T00:00:00Z"))


FIELDS = {
    "ID": ("NETWORK ID", _id),
    "Name": ("NAME", lambda row: str(row.data.get("Name", ""))),
    "Driver": ("DRIVER", lambda row: str(row.data.get("Driver", ""))),
    "Scope": ("SCOPE", lambda row: str(row.data.get("Scope", ""))),
    "IPv6": ("IPV6", lambda row: _flag(row, "EnableIPv6")),
    "Internal": ("INTERNAL", lambda row: _flag(row, "Internal")),
    "Labels": ("LABELS", lambda row: labels_text(row.data.get("Labels"))),
    "CreatedAt": ("CREATED AT", _created),
}

COMMANDS = {"network ls": Command(run, "[OPTIONS]", FLAGS)}
