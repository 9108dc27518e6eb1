"""`docker system df`."""

from __future__ import annotations

from orlop.cli.docker import human, images, ps, volume_ls
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, STRING, Flag
from orlop.cli.docker.listing import Row, listing
from orlop.cli.docker.ps import FORMAT_HELP
from orlop.cli.docker.session import as_object, as_objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.listing import Fields
    from orlop.cli.docker.session import Object, Session

FLAGS = (
    Flag("format", "", STRING, FORMAT_HELP),
    Flag("verbose", "v", BOOL, "each image, container and volume"),
)
ACTIVE_STATES = ("running", "paused", "restarting")
CREATED_BY_WIDTH = 20


def run(session: Session, values: Values) -> int:
    form, verbose = values.text("format"), values.flag("verbose")
    if verbose and form:
        raise Failure("the verbose and the format options conflict")
    usage = session.get_object("/system/df")
    if verbose:
        _verbose(usage)
        return 0
    rows = [Row(each, FIELDS, "formatter.diskUsageContext") for each in summary(usage)]
    listing(rows, FIELDS, form, ("Type", "TotalCount", "Active", "Size", "Reclaimable"))
    return 0


def summary(usage: Object) -> list[Object]:
    """The rows of the table: what there is of each kind, and what of it could go."""
    found = as_objects(usage.get("Images"))
    layers = _number(usage, "LayersSize")
    used = sum(
        _number(each, "Size") - _number(each, "SharedSize")
        for each in found
        if each.get("Containers") and -1 not in (each.get("Size"), each.get("SharedSize"))
    )
    rows = [
        _row(
            "Images",
            found,
            [e for e in found if _number(e, "Containers") > 0],
            layers,
            layers - used,
        )
    ]
    found = as_objects(usage.get("Containers"))
    active = [each for each in found if each.get("State") in ACTIVE_STATES]
    size = sum(_number(each, "SizeRw") for each in found)
    free = size - sum(_number(each, "SizeRw") for each in active)
    rows.append(_row("Containers", found, active, size, free))
    found = as_objects(usage.get("Volumes"))
    active = [each for each in found if _usage(each, "RefCount") > 0]
    sizes = [(max(_usage(each, "Size"), 0), _usage(each, "RefCount")) for each in found]
    free = sum(size for size, count in sizes if count == 0)
    rows.append(_row("Local Volumes", found, active, sum(size for size, _ in sizes), free))
    found = as_objects(usage.get("BuildCache"))
    active = [each for each in found if each.get("InUse")]
    own = [each for each in found if not each.get("Shared")]
    size = sum(_number(each, "Size") for each in own)
    free = sum(_number(each, "Size") for each in own if not each.get("InUse"))
    row = _row("Build Cache", found, active, size, free)
    return [*rows, {**row, "reclaimable": human.decimal_size(free)}]


def _row(kind: str, found: list[Object], active: list[Object], size: int, free: int) -> Object:
    reclaimable = human.decimal_size(free)
    if size > 0:
        reclaimable += f" ({free * 100 // size}%)"
    return {
        "type": kind,
        "total": str(len(found)),
        "active": str(len(active)),
        "size": human.decimal_size(size),
        "reclaimable": reclaimable,
    }


def _number(value: Object, key: str) -> int:
    found = value.get(key)
    return found if isinstance(found, int) else 0


def _usage(volume: Object, key: str) -> int:
    return _number(as_object(volume.get("UsageData") or {"Size": -1, "RefCount": -1}), key)


def _verbose(usage: Object) -> None:
    print("Images space usage:\n")
    columns: tuple[str, ...] = (
        "Repository",
        "Tag",
        "ID",
        "CreatedSince",
        "Size",
        "SharedSize",
        "UniqueSize",
        "Containers",
    )
    rows = [
        Row(each, images.FIELDS, "formatter.imageContext")
        for image in as_objects(usage.get("Images"))
        for each in images.flat(image, digests=False)
    ]
    listing(rows, images.FIELDS, "", columns)
    print("\nContainers space usage:\n")
    columns = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
    containers = [{**each, "SizeRootFs": 0} for each in as_objects(usage.get("Containers"))]
    _table(containers, ps.FIELDS, columns)
    print("\nLocal Volumes space usage:\n")
    _table(as_objects(usage.get("Volumes")), volume_ls.FIELDS, ("Name", "Links", "Size"))
    cache = sorted(as_objects(usage.get("BuildCache")), key=_by_use)
    size = sum(_number(each, "Size") for each in cache if not each.get("Shared"))
    print(f"\nBuild cache usage: {human.decimal_size(size)}\n")
    columns = ("ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared")
    _table(cache, CACHE_FIELDS, columns)


def _by_use(entry: Object) -> tuple[str, str]:
    return str(entry.get("LastUsedAt") or ""), str(entry.get("ID"))


def _table(found: list[Object], fields: Fields, columns: Sequence[str]) -> None:
    listing([Row(each, fields, "row") for each in found], fields, "", columns)


def _since(row: Row, key: str) -> str:
    from orlop.cli.text import parse_time

    moment = parse_time(str(row.data.get(key) or ""))
    return "" if moment is None else human.ago(moment)


def _cache_id(row: Row) -> str:
    mark = "*" if row.data.get("InUse") else ""
    return str(row.data.get("ID", ""))[: human.SHORT_ID] + mark


FIELDS = {
    "Type": ("TYPE", lambda row: str(row.data["type"])),
    "TotalCount": ("TOTAL", lambda row: str(row.data["total"])),
    "Active": ("ACTIVE", lambda row: str(row.data["active"])),
    "Size": ("SIZE", lambda row: str(row.data["size"])),
    "Reclaimable": ("RECLAIMABLE", lambda row: str(row.data["reclaimable"])),
}
CACHE_FIELDS = {
    "ID": ("CACHE ID", _cache_id),
    "CacheType": ("CACHE TYPE", lambda row: str(row.data.get("Type", ""))),
    "Size": ("SIZE", lambda row: human.decimal_size(_number(row.data, "Size"), 3)),
    "CreatedSince": ("CREATED", lambda row: _since(row, "CreatedAt")),
    "LastUsedSince": ("LAST USED", lambda row: _since(row, "LastUsedAt")),
    "UsageCount": ("USAGE", lambda row: str(_number(row.data, "UsageCount"))),
    "Shared": ("SHARED", lambda row: "true" if row.data.get("Shared") else "false"),
}

COMMANDS = {"system df": Command(run, "[OPTIONS]", FLAGS)}
