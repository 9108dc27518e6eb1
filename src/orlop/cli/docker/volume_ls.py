"""`docker volume ls`."""

from __future__ import annotations

from orlop.cli.docker import human
from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import BOOL, FILTER, STRING, Flag
from orlop.cli.docker.listing import Row, filters_query, labels_text, listing
from orlop.cli.docker.network_ls import natural_key
from orlop.cli.docker.ps import FORMAT_HELP
from orlop.cli.docker.session import as_objects, query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("cluster"),
    Flag("filter", "f", FILTER, "only those that match: NAME=VALUE"),
    Flag("format", "", STRING, FORMAT_HELP),
    Flag("quiet", "q", BOOL, "only names"),
)


def run(session: Session, values: Values) -> int:
    answer = session.get_object("/volumes" + query(filters=filters_query(values.many("filter"))))
    form = values.text("format")
    if not form and not values.flag("quiet"):
        form = session.config_text("volumesFormat")
    found = as_objects(answer.get("Volumes"))
    rows = [
        Row(each, FIELDS, "formatter.volumeContext")
        for each in sorted(found, key=lambda each: natural_key(str(each.get("Name", ""))))
    ]
    if values.flag("quiet") and form in ("", "table"):
        print("".join(f"{_text(row, 'Name')}\n" for row in rows), end="")
        return 0
    listing(rows, FIELDS, form, ("Driver", "Name"))
    return 0


def _text(row: Row, key: str) -> str:
    return str(row.data.get(key) or "")


def _usage(row: Row) -> dict[str, object]:
    found = row.data.get("UsageData")
    return found if isinstance(found, dict) else {}


def _links(row: Row) -> str:
    count = _usage(row).get("RefCount", -1)
    return "N/A" if count == -1 else str(count)


def _size(row: Row) -> str:
    size = _usage(row).get("Size", -1)
    return human.decimal_size(size) if isinstance(size, int) and size != -1 else "N/A"


FIELDS = {
    "Name": ("VOLUME NAME", lambda row: _text(row, "Name")),
    "Driver": ("DRIVER", lambda row: _text(row, "Driver")),
    "Scope": ("SCOPE", lambda row: _text(row, "Scope")),
    "Mountpoint": ("MOUNTPOINT", lambda row: _text(row, "Mountpoint")),
    "Labels": ("LABELS", lambda row: labels_text(row.data.get("Labels"))),
    "Links": ("LINKS", _links),
    "Size": ("SIZE", _size),
    "Group": ("GROUP", lambda row: "N/A"),
    "Availability": ("AVAILABILITY", lambda row: "N/A"),
    "Status": ("STATUS", lambda row: "N/A"),
}

COMMANDS = {"volume ls": Command(run, "[OPTIONS]", FLAGS)}
