"""`GET /containers/json`: which containers a client wants to see, and their sizes if it asks."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from orlop.engine.api import filters as filtering
from orlop.engine.api import network_render, render, render_host
from orlop.engine.container.state import Health, State
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError
from orlop.wire.docker.fields import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.engine.api.exchange import Exchange
    from orlop.engine.container.container import Container
    from orlop.engine.engine import Engine

LIST_FILTERS = frozenset(
    {
        "ancestor",
        "before",
        "exited",
        "expose",
        "health",
        "id",
        "is-task",
        "isolation",
        "label",
        "name",
        "network",
        "publish",
        "since",
        "status",
        "volume",
    }
)
_HEALTH = ("none", "starting", "healthy", "unhealthy")


async def respond(engine: Engine, exchange: Exchange) -> None:
    """Answer the request."""
    filters = filtering.parse_filters(exchange.text("filters"), LIST_FILTERS)
    selected = make_selector(engine, filters)
    limit = exchange.integer("limit") or 0
    everything = exchange.flag("all") or limit > 0 or bool({"status", "exited"} & filters.keys())
    found = [
        container
        for container in engine.all()
        if (everything or container.record.state.is_up or _is_restarting(container))
        and selected(container)
    ]
    if limit > 0:
        found = found[:limit]
    rows = [render.summary(container) for container in found]
    aliases, images = _link_names(engine), _Names(engine)
    for row in rows:
        row["Image"] = images.shown(row["Image"], row["ImageID"])
        row["Names"] += sorted(aliases.get(row["Id"], ()))
        if exchange.api_version < (1, 46):
            row["HostConfig"].pop("Annotations", None)
    if exchange.flag("size"):
        for container, row in zip(found, rows, strict=True):
            row.update(await sizes(container))
    await exchange.respond_json(200, rows)


class _Names:
    """What images are called in one list."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ids: dict[str, str] = {}

    def shown(self, name: str, image_id: str) -> str:
        """*name* as long as it means the container's image, else *image_id*."""
        if name not in self._ids:
            try:
                self._ids[name] = self._engine.images.get(name).id
            except OrlopError:
                self._ids[name] = ""
        return name if self._ids[name] == image_id else image_id


def _link_names(engine: Engine) -> dict[str, list[str]]:
    """By id, what others call a container with their links: `/OTHER/ALIAS`."""
    found: dict[str, list[str]] = {}
    for container in engine.all():
        if container.config.network == "bridge":
            for child_id, _name, alias in render_host.linked_names(container):
                found.setdefault(child_id, []).append(f"/{container.name}/{alias}")
    return found


def _is_restarting(container: Container) -> bool:
    return container.record.state is State.RESTARTING


async def sizes(container: Container) -> dict[str, Any]:
    """What its own layer holds, and that together with its image, in bytes."""
    from orlop.engine.api.disk_usage import tree_size_bytes

    own_bytes = await asyncio.to_thread(tree_size_bytes, container.layout.upper)
    image = render.image_of(container)
    return {"SizeRw": own_bytes, "SizeRootFs": own_bytes + (image.size_bytes if image else 0)}


def make_selector(engine: Engine, filters: filtering.Filters) -> Callable[[Container], bool]:
    """Whether a container is wanted.

    Raises:
        InvalidArgument: a filter has a value it cannot have. NotFound: it names no container.
    """
    _check_words(filters, "status", tuple(State))
    _check_words(filters, "health", _HEALTH)
    for text in filters.get("exited", ()):
        if not re.fullmatch(r"-?\d+", text):
            reason = f"strconv.Atoi: parsing {quoted(text)}: invalid syntax"
            raise InvalidArgument(f"invalid filter 'exited={text[:40]}': {reason}")
    patterns = [_compile(pattern) for pattern in filters.get("name", ())]
    before = [engine.find(ref).record.created_ns for ref in filters.get("before", ())]
    since = [engine.find(ref).record.created_ns for ref in filters.get("since", ())]
    ancestors = _image_ids(engine, filters)

    def selected(container: Container) -> bool:
        name, created_ns = container.name, container.record.created_ns
        if patterns and not any(p.search(f"/{name}") or p.search(name) for p in patterns):
            return False
        if ancestors is not None and not ancestors & {
            container.record.image_id,
            container.config.image,
        }:
            return False
        if any(created_ns >= time_ns for time_ns in before):
            return False
        return all(created_ns > time_ns for time_ns in since) and _selected(container, filters)

    return selected


def _check_words(filters: filtering.Filters, key: str, known: tuple[str, ...]) -> None:
    for word in filters.get(key, ()):
        if word not in known:
            what = "state" if key == "status" else key
            raise InvalidArgument(
                f"invalid filter '{key}={word[:40]}': invalid value for {what} ({word[:40]}): "
                f"must be one of {', '.join(known)}"
            )


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error:
        # dockerd compares such a one as a text.
        return re.compile(re.escape(pattern))


def _image_ids(engine: Engine, filters: filtering.Filters) -> set[str] | None:
    """Names that `ancestor` says, and the images they mean with all made from these; or None."""
    wanted = filters.get("ancestor")
    if wanted is None:
        return None
    found = set(wanted)
    for reference in wanted:
        try:
            found.add(engine.images.get(reference).id)
        except (NotFound, InvalidArgument):
            continue
    children: dict[str, list[str]] = {}
    for image in engine.images.all():
        children.setdefault(image.parent, []).append(image.id)
    new = set(found)
    while new := {child for parent in new for child in children.get(parent, ())} - found:
        found |= new
    return found


def _selected(container: Container, filters: filtering.Filters) -> bool:
    known, config = container.record, container.config
    health = "none" if known.health is Health.NONE else known.health.value
    places = [part for mount in config.mounts for part in (mount.target, mount.source)]
    return (
        filtering.match_any(filters, "status", (known.state.value,))
        and filtering.match_any(filters, "exited", (str(known.exit_code),))
        and filtering.match_any(filters, "health", (health,))
        and _in_network(container, filters)
        and filtering.match_any(filters, "volume", places)
        and filtering.match_any(filters, "is-task", ("false", "0"))
        and filtering.match_prefix(filters, "id", known.id)
        and filtering.match_labels(filters.get("label", ()), dict(config.labels))
    )


def _in_network(container: Container, filters: filtering.Filters) -> bool:
    """By name, id or the beginning of an id."""
    wanted = filters.get("network")
    if wanted is None:
        return True
    shown = network_render.endpoints(container)
    ids = [str(endpoint["NetworkID"]) for endpoint in shown.values()]
    return any(item in shown or any(id_.startswith(item) for id_ in ids) for item in wanted)
