"""`docker ps`."""

from __future__ import annotations

from orlop.cli.docker import human
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, FILTER, INT, STRING, Flag
from orlop.cli.docker.listing import Row, filters_query, labels_text, listing
from orlop.cli.docker.session import as_objects, query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

FORMAT_HELP = "table, json, or a Go template, with titles after `table`"
FLAGS = (
    Flag("all", "a", BOOL, "also those that do not run"),
    Flag("filter", "f", FILTER, "only those that match: NAME=VALUE"),
    Flag("format", "", STRING, FORMAT_HELP),
    Flag("last", "n", INT, "the last created, so many"),
    Flag("latest", "l", BOOL, "the last created"),
    Flag("no-trunc", "", BOOL, "show all of each value"),
    Flag("quiet", "q", BOOL, "only ids"),
    Flag("size", "s", BOOL, "show sizes"),
)
KIND = "formatter.ContainerContext"
COMMAND_WIDTH = 20
MOUNT_WIDTH = 15
DEFAULT = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def run(session: Session, values: Values) -> int:
    form = values.text("format")
    if not form and not values.flag("quiet"):
        form = session.config_text("psFormat")
    # A template that shows sizes asks for them.
    size = values.flag("size") or ".Size" in form or "json.}" in form.replace(" ", "")
    last = values.number("last", -1)
    if values.flag("latest") and last == -1:
        last = 1
    target = "/containers/json" + query(
        all=values.flag("all"),
        limit=last if last > 0 else None,
        size=size,
        filters=filters_query(values.many("filter")),
    )
    trunc = not values.flag("no-trunc")
    found = session.get_objects(target)
    rows = [Row(each, FIELDS, KIND, trunc=trunc) for each in found]
    if values.flag("quiet") and form in ("", "table"):
        print("".join(f"{_id(row)}\n" for row in rows), end="")
        return 0
    _check(form)
    listing(rows, FIELDS, form, (*DEFAULT, "Size") if size else DEFAULT)
    return 0


def _check(form: str) -> None:
    """Refuse a template that does not parse or names what is no field, even if there are no rows.

    Raises:
        Failure: docker's text.
    """
    if form in ("", "table", "json"):
        return
    from orlop.wire.go_template.errors import TemplateError
    from orlop.wire.go_template.evaluate import Template

    try:
        template = Template(form)
    except TemplateError as error:
        raise Failure(f"failed to parse template: {error}") from None
    try:
        template.execute(Row({}, FIELDS, KIND))
    except TemplateError as error:
        # Any other error may be due to there being nothing in the row.
        if "can't evaluate field" in error.message:
            raise Failure(f"failed to execute template: {error}") from None


def _id(row: Row) -> str:
    identifier = str(row.data.get("Id", ""))
    return identifier[: human.SHORT_ID] if row.trunc else identifier


def _names(row: Row) -> str:
    names = row.data.get("Names")
    found = [str(name).removeprefix("/") for name in names] if isinstance(names, list) else []
    # Links show as NAME/ALIAS; only the whole list names them.
    return ",".join(name for name in found if not row.trunc or "/" not in name)


def _image(row: Row) -> str:
    image = str(row.data.get("Image") or "")
    if not image:
        return "<no image>"
    if not row.trunc:
        return image
    short = human.short_id(str(row.data.get("ImageID") or ""))
    if short and short == human.short_id(image):
        return short
    name, at, _ = image.partition("@")
    return name if at else image


def _command(row: Row) -> str:
    from orlop.wire.go_template.values import quote

    command = str(row.data.get("Command") or "")
    return quote(human.ellipsis(command, COMMAND_WIDTH) if row.trunc else command)


def _created(row: Row) -> float:
    created = row.data.get("Created")
    return float(created) if isinstance(created, int | float) else 0.0


def _size(row: Row) -> str:
    written, root = row.data.get("SizeRw") or 0, row.data.get("SizeRootFs") or 0
    assert isinstance(written, int)
    assert isinstance(root, int)
    text = human.decimal_size(written, 3)
    return f"{text} (virtual {human.decimal_size(root, 3)})" if root > 0 else text


def _mounts(row: Row) -> str:
    found = []
    for mount in as_objects(row.data.get("Mounts")):
        name = str(mount.get("Name") or mount.get("Source") or "")
        found.append(human.ellipsis(name, MOUNT_WIDTH) if row.trunc else name)
    return ",".join(found)


def _local_volumes(row: Row) -> str:
    return str(sum(each.get("Driver") == "local" for each in as_objects(row.data.get("Mounts"))))


def _networks(row: Row) -> str:
    settings = row.data.get("NetworkSettings")
    networks = settings.get("Networks") if isinstance(settings, dict) else None
    return ",".join(networks or ())


def _ports(row: Row) -> str:
    return ports_text(as_objects(row.data.get("Ports")))


def ports_text(ports: list[Object]) -> str:
    """`0.0.0.0:8080->80/tcp, 90-92/udp`: neighbours in one range."""

    def order(port: Object) -> tuple[int, str, int, str]:
        return (
            _number(port, "PrivatePort"),
            _text(port, "IP"),
            _number(port, "PublicPort"),
            _text(port, "Type"),
        )

    groups: dict[str, list[int]] = {}
    done: list[str] = []
    moved: list[str] = []
    for port in sorted(ports, key=order):
        private, _, _, kind = order(port)
        address, public = _text(port, "IP"), _number(port, "PublicPort")
        key = f"{address}/{kind}" if address else kind
        if address and public != private:
            moved.append(f"{address}:{public}->{private}/{kind}")
            continue
        group = groups.get(key)
        if group is not None and private == group[1] + 1:
            group[1] = private
            continue
        if group is not None:
            done.append(_group(key, *group))
        groups[key] = [private, private]
    done += [_group(key, *group) for key, group in groups.items()]
    return ", ".join(done + moved)


def _group(key: str, first: int, last: int) -> str:
    address, _, kind = key.rpartition("/")
    span = str(first) if first == last else f"{first}-{last}"
    return f"{address}:{span}->{span}/{kind}" if address else f"{span}/{kind}"


def _number(port: Object, key: str) -> int:
    value = port.get(key)
    return value if isinstance(value, int) else 0


def _text(port: Object, key: str) -> str:
    return str(port.get(key) or "")


FIELDS = {
    "ID": ("CONTAINER ID", _id),
    "Names": ("NAMES", _names),
    "Image": ("IMAGE", _image),
    "Command": ("COMMAND", _command),
    "CreatedAt": ("CREATED AT", lambda row: human.local_time(_created(row))),
    "RunningFor": ("CREATED", lambda row: human.ago(_created(row))),
    "Ports": ("PORTS", _ports),
    "State": ("STATE", lambda row: str(row.data.get("State") or "")),
    "Status": ("STATUS", lambda row: str(row.data.get("Status") or "")),
    "Size": ("SIZE", _size),
    "Labels": ("LABELS", lambda row: labels_text(row.data.get("Labels"))),
    "Mounts": ("MOUNTS", _mounts),
    "LocalVolumes": ("LOCAL VOLUMES", _local_volumes),
    "Networks": ("NETWORKS", _networks),
}

COMMANDS = {"ps": Command(run, "[OPTIONS]", FLAGS)}
