"""`docker history`."""

from __future__ import annotations

import time

from orlop.cli.docker import human
from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import BOOL, STRING, Flag
from orlop.cli.docker.listing import Row, listing
from orlop.cli.docker.ps import FORMAT_HELP
from orlop.cli.docker.session import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("format", "", STRING, FORMAT_HELP),
    Flag("human", "H", BOOL, "sizes and dates for people (true)", "true"),
    Flag("no-trunc", "", BOOL, "show all of each value"),
    Flag("quiet", "q", BOOL, "only ids"),
)
CREATED_BY_WIDTH = 45


def run(session: Session, values: Values) -> int:
    steps = session.get_objects(f"/images/{quote(values.words[0])}/history")
    trunc = not values.flag("no-trunc")
    shown = values.flag("human")
    rows = [
        Row({**step, "human": shown}, FIELDS, "image.historyContext", trunc=trunc) for step in steps
    ]
    if values.flag("quiet") and values.text("format") in ("", "table"):
        print("".join(f"{_id(row)}\n" for row in rows), end="")
        return 0
    created = "CreatedSince" if shown else "CreatedAt"
    listing(rows, FIELDS, values.text("format"), ("ID", created, "CreatedBy", "Size", "Comment"))
    return 0


def _id(row: Row) -> str:
    identifier = str(row.data.get("Id", ""))
    return human.short_id(identifier) if row.trunc else identifier


def _number(row: Row, key: str) -> int:
    value = row.data.get(key)
    return value if isinstance(value, int) else 0


def _created_at(row: Row) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_number(row, "Created")))


def _since(row: Row) -> str:
    if not row.data["human"]:
        return _created_at(row)
    created = _number(row, "Created")
    return "N/A" if created <= 0 else human.ago(created)


def _created_by(row: Row) -> str:
    text = str(row.data.get("CreatedBy") or "").replace("\t", " ")
    return human.ellipsis(text, CREATED_BY_WIDTH) if row.trunc else text


def _size(row: Row) -> str:
    size = _number(row, "Size")
    return human.decimal_size(size, 3) if row.data["human"] else str(size)


FIELDS = {
    "ID": ("IMAGE", _id),
    "CreatedSince": ("CREATED", _since),
    "CreatedAt": ("CREATED AT", _created_at),
    "CreatedBy": ("CREATED BY", _created_by),
    "Size": ("SIZE", _size),
    "Comment": ("COMMENT", lambda row: str(row.data.get("Comment") or "")),
}

COMMANDS = {"history": Command(run, "[OPTIONS] IMAGE", FLAGS, words=(1, 1))}
