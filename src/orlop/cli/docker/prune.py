"""`docker container prune`, and of images, networks, volumes and the system."""

from __future__ import annotations

import sys

from orlop.cli.docker import human
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, FILTER, Flag
from orlop.cli.docker.listing import filters_query
from orlop.cli.docker.session import as_object, as_objects, query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

FILTER_FLAG = Flag("filter", "", FILTER, "only those that match: until=TIME, label=NAME[=VALUE]")
FORCE = Flag("force", "f", BOOL, "do not ask")
QUESTION = "Are you sure you want to continue? [y/N] "
DANGLING = "all dangling images"
UNUSED = "all images without at least one container associated to them"


def confirm(values: Values, warning: str) -> None:
    """Ask, unless `--force` is given.

    Raises:
        Failure: the answer is no.
    """
    if values.flag("force"):
        return
    sys.stdout.write(f"WARNING! This will remove{warning}\n{QUESTION}")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() != "y":
        raise Failure("", 0)


def _containers(session: Session, values: Values, filters: list[str]) -> tuple[str, int]:
    answer = as_object(session.post("/containers/prune" + query(filters=filters_query(filters))))
    return _list("Deleted Containers:", answer.get("ContainersDeleted")), _space(answer)


def _networks(session: Session, values: Values, filters: list[str]) -> tuple[str, int]:
    answer = as_object(session.post("/networks/prune" + query(filters=filters_query(filters))))
    return _list("Deleted Networks:", answer.get("NetworksDeleted")), 0


def _volumes(session: Session, values: Values, filters: list[str]) -> tuple[str, int]:
    answer = as_object(session.post("/volumes/prune" + query(filters=filters_query(filters))))
    return _list("Deleted Volumes:", answer.get("VolumesDeleted")), _space(answer)


def _images(session: Session, values: Values, filters: list[str]) -> tuple[str, int]:
    dangling = "false" if values.flag("all") else "true"
    target = "/images/prune" + query(filters=filters_query([*filters, f"dangling={dangling}"]))
    answer = as_object(session.post(target))
    lines = [
        f"{key.lower()}: {step[key]}"
        for step in as_objects(answer.get("ImagesDeleted"))
        for key in ("Untagged", "Deleted")
        if step.get(key)
    ]
    return _list("Deleted Images:", lines), _space(answer)


def _cache(session: Session, values: Values, filters: list[str]) -> tuple[str, int]:
    target = "/build/prune" + query(all=values.flag("all"), filters=filters_query(filters))
    answer = as_object(session.post(target) or {})
    return _list("Deleted build cache objects:", answer.get("CachesDeleted")), _space(answer)


def _list(title: str, found: object) -> str:
    if not isinstance(found, list) or not found:
        return ""
    return f"{title}\n" + "".join(f"{each}\n" for each in found)


def _space(answer: Object) -> int:
    found = answer.get("SpaceReclaimed")
    return found if isinstance(found, int) else 0


def _say(text: str, space: int | None) -> int:
    if text:
        print(text)
    if space is not None:
        print(f"Total reclaimed space: {human.decimal_size(space)}")
    return 0


def _container_prune(session: Session, values: Values) -> int:
    confirm(values, " all stopped containers.")
    return _say(*_containers(session, values, values.many("filter")))


def _image_prune(session: Session, values: Values) -> int:
    confirm(values, f" {UNUSED if values.flag('all') else DANGLING}.")
    return _say(*_images(session, values, values.many("filter")))


def _network_prune(session: Session, values: Values) -> int:
    confirm(values, " all custom networks not used by at least one container.")
    text, _ = _networks(session, values, values.many("filter"))
    return _say(text, None)


def _volume_prune(session: Session, values: Values) -> int:
    kind = "all local" if values.flag("all") else "anonymous local"
    confirm(values, f" {kind} volumes not used by at least one container.")
    filters = values.many("filter") + (["all=true"] if values.flag("all") else [])
    return _say(*_volumes(session, values, filters))


def _system_prune(session: Session, values: Values) -> int:
    filters = values.many("filter")
    if values.flag("volumes") and any(text.startswith("until=") for text in filters):
        raise Failure('ERROR: The "until" filter is not supported with "--volumes"')
    confirm(values, _system_warning(values, filters))
    steps = [
        _containers,
        _networks,
        *([_volumes] if values.flag("volumes") else []),
        _images,
        _cache,
    ]
    total = 0
    for step in steps:
        text, space = step(session, values, filters)
        total += space
        if text:
            print(text)
    return _say("", total)


def _system_warning(values: Values, filters: list[str]) -> str:
    lines = ["all stopped containers", "all networks not used by at least one container"]
    if values.flag("volumes"):
        lines.append("all anonymous volumes not used by at least one container")
    lines += [UNUSED, "all build cache"] if values.flag("all") else [DANGLING, "unused build cache"]
    text = "\n" + "".join(f"  - {line}\n" for line in lines)
    if filters:
        text += "\n  Items to be pruned will be filtered with:\n"
        text += "".join(f"  - {each}\n" for each in sorted(filters))
    return f":{text}"


_ALL = Flag("all", "a", BOOL, "all that is unused")
COMMANDS = {
    "container prune": Command(_container_prune, "[OPTIONS]", (FILTER_FLAG, FORCE)),
    "image prune": Command(_image_prune, "[OPTIONS]", (_ALL, FILTER_FLAG, FORCE)),
    "network prune": Command(_network_prune, "[OPTIONS]", (FILTER_FLAG, FORCE)),
    "volume prune": Command(_volume_prune, "[OPTIONS]", (_ALL, FILTER_FLAG, FORCE)),
    "system prune": Command(
        _system_prune,
        "[OPTIONS]",
        (_ALL, FILTER_FLAG, FORCE, Flag("volumes", "", BOOL, "also anonymous volumes")),
    ),
}
