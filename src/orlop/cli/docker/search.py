"""`docker search`."""

from __future__ import annotations

from orlop.cli.docker import credentials, human
from orlop.cli.docker.command import Command
from orlop.cli.docker.credentials import DEFAULT_SERVER
from orlop.cli.docker.flags import BOOL, FILTER, INT, STRING, Flag
from orlop.cli.docker.listing import Row, filters_query, listing
from orlop.cli.docker.ps import FORMAT_HELP
from orlop.cli.docker.session import as_objects, query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("filter", "f", FILTER, "only those that match: stars=N, is-official=true"),
    Flag("format", "", STRING, FORMAT_HELP),
    Flag("limit", "", INT, "at most so many"),
    Flag("no-trunc", "", BOOL, "show all of each value"),
)
DESCRIPTION_WIDTH = 45


def run(session: Session, values: Values) -> int:
    term = values.words[0]
    first = term.partition("/")[0]
    server = first if "/" in term and ("." in first or ":" in first) else DEFAULT_SERVER
    target = "/images/search" + query(
        filters=filters_query(values.many("filter")),
        limit=values.number("limit") or None,
        term=term,
    )
    response = session.request("GET", target, headers=credentials.header_for(session, server))
    found = as_objects(session.client.value_of(response))
    trunc = not values.flag("no-trunc")
    rows = [Row(each, FIELDS, "registry.searchContext", trunc=trunc) for each in found]
    default = ("Name", "Description", "StarCount", "IsOfficial")
    listing(rows, FIELDS, values.text("format"), default)
    return 0


def _description(row: Row) -> str:
    text = str(row.data.get("description") or "").replace("\n", " ").replace("\r", " ")
    return human.ellipsis(text, DESCRIPTION_WIDTH) if row.trunc else text


def _mark(row: Row, key: str) -> str:
    return "[OK]" if row.data.get(key) else ""


FIELDS = {
    "Name": ("NAME", lambda row: str(row.data.get("name") or "")),
    "Description": ("DESCRIPTION", _description),
    "StarCount": ("STARS", lambda row: str(row.data.get("star_count") or 0)),
    "IsOfficial": ("OFFICIAL", lambda row: _mark(row, "is_official")),
    "IsAutomated": ("AUTOMATED", lambda row: _mark(row, "is_automated")),
}

COMMANDS = {"search": Command(run, "[OPTIONS] TERM", FLAGS, words=(1, 1))}
