"""`docker images`."""

from __future__ import annotations

from orlop.cli.docker import human
from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import BOOL, FILTER, STRING, Flag
from orlop.cli.docker.listing import Row, filters_query, listing
from orlop.cli.docker.ps import FORMAT_HELP
from orlop.cli.docker.session import query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

FLAGS = (
    Flag("all", "a", BOOL, "also intermediate images"),
    Flag("digests", "", BOOL, "show digests"),
    Flag("filter", "f", FILTER, "only those that match: NAME=VALUE"),
    Flag("format", "", STRING, FORMAT_HELP),
    Flag("no-trunc", "", BOOL, "show all of each value"),
    Flag("quiet", "q", BOOL, "only ids"),
)
NONE = "<none>"
DEFAULT = ("Repository", "Tag", "ID", "CreatedSince", "Size")
WITH_DIGEST = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


def run(session: Session, values: Values) -> int:
    filters = values.many("filter") + [f"reference={word}" for word in values.words]
    target = "/images/json" + query(all=values.flag("all"), filters=filters_query(filters))
    form = values.text("format")
    if not form and not values.flag("quiet"):
        form = session.config_text("imagesFormat")
    digests = values.flag("digests") or ".Digest" in form
    rows = [
        Row(each, FIELDS, "formatter.imageContext", trunc=not values.flag("no-trunc"))
        for image in session.get_objects(target)
        for each in flat(image, digests=digests)
    ]
    if values.flag("quiet") and form in ("", "table"):
        print("".join(f"{_id(row)}\n" for row in rows), end="")
        return 0
    listing(rows, FIELDS, form, WITH_DIGEST if values.flag("digests") else DEFAULT)
    return 0


def flat(image: Object, *, digests: bool) -> list[Object]:
    """The rows of *image*: one for each tag, with *digests* one for each digest of a tag."""
    tags: dict[str, list[str]] = {}
    hashes: dict[str, list[str]] = {}
    for text in _strings(image.get("RepoTags")):
        repository, _, tag = text.rpartition(":")
        tags.setdefault(repository, []).append(tag)
    for text in _strings(image.get("RepoDigests")):
        repository, _, digest = text.partition("@")
        hashes.setdefault(repository, []).append(digest)
    if list(tags) == [NONE] and list(hashes) in ([], [NONE]):
        tags, hashes = {}, {}
    rows = []
    for repository, names in tags.items():
        known = hashes.pop(repository, [])
        shown = (known or [NONE]) if digests else known[:1] or [NONE]
        rows += [(repository, name, digest) for name in names for digest in shown]
    for repository, known in hashes.items():
        shown = known if digests else known[:1]
        rows += [(repository, NONE, digest) for digest in shown]
    return [
        {**image, "repository": repository, "tag": tag, "digest": digest}
        for repository, tag, digest in rows or [(NONE, NONE, NONE)]
    ]


def _strings(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _id(row: Row) -> str:
    identifier = str(row.data.get("Id", ""))
    return human.short_id(identifier) if row.trunc else identifier


def _number(row: Row, key: str) -> int:
    value = row.data.get(key)
    return value if isinstance(value, int) else 0


def _or_unknown(row: Row, key: str) -> str:
    number = _number(row, key)
    return "N/A" if number == -1 else str(number)


def _bytes_or_unknown(row: Row, key: str) -> str:
    number = _number(row, key)
    return "N/A" if number == -1 else human.decimal_size(number)


def _unique(row: Row) -> str:
    size, shared = _number(row, "Size"), _number(row, "SharedSize")
    return "N/A" if -1 in (size, shared) else human.decimal_size(size - shared)


def _since(row: Row) -> str:
    created = _number(row, "Created")
    return "N/A" if created <= 0 else human.ago(created)


FIELDS = {
    "ID": ("IMAGE ID", _id),
    "Repository": ("REPOSITORY", lambda row: str(row.data["repository"])),
    "Tag": ("TAG", lambda row: str(row.data["tag"])),
    "Digest": ("DIGEST", lambda row: str(row.data["digest"])),
    "CreatedSince": ("CREATED", _since),
    "CreatedAt": ("CREATED AT", lambda row: human.local_time(_number(row, "Created"))),
    "Size": ("SIZE", lambda row: human.decimal_size(_number(row, "Size"), 3)),
    "VirtualSize": ("SIZE", lambda row: human.decimal_size(_number(row, "Size"))),
    "Containers": ("CONTAINERS", lambda row: _or_unknown(row, "Containers")),
    "SharedSize": ("SHARED SIZE", lambda row: _bytes_or_unknown(row, "SharedSize")),
    "UniqueSize": ("UNIQUE SIZE", _unique),
}

COMMANDS = {"images": Command(run, "[OPTIONS] [REPOSITORY[:TAG]]", FLAGS, words=(0, 1))}
