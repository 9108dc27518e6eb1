"""Requests about images: list, inspect, history, load, tag, delete, prune.

What dockerd 28 does with its own store, with its texts. Pull, push and build are elsewhere.
"""

from __future__ import annotations

import fnmatch
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from orlop.engine import image_stores
from orlop.engine.api import filters as filtering
from orlop.engine.api import image_render as render
from orlop.engine.api.body import body_input
from orlop.engine.api.router import Route, bind
from orlop.engine.api.times import parse_time
from orlop.lib.errors import InvalidArgument, NotImplementedYet, OrlopError
from orlop.wire.registry import progress
from orlop.wire.registry.reference import parse_reference, short_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine
    from orlop.engine.images import Image
    from orlop.engine.store.ingest import LoadedImage
    from orlop.engine.store.layered import LayeredImages
    from orlop.engine.store.records import ImageRecord
    from orlop.engine.store.removal import Deletion, Remover, User
    from orlop.wire.registry.reference import Reference

LIST_FILTERS = frozenset({"dangling", "label", "before", "since", "reference", "until"})
PRUNE_FILTERS = frozenset({"dangling", "label", "label!", "until"})


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""
    on = bind(engine)
    return [
        on("GET", "/images/json", _list),
        on("GET", "/images/{name:path}/json", _inspect),
        on("GET", "/images/{name:path}/history", _history),
        on("POST", "/images/load", _load),
        on("POST", "/images/prune", _prune),
        on("POST", "/images/{name:path}/tag", _tag),
        on("DELETE", "/images/{name:path}", _delete),
    ]


def store_of(engine: Engine) -> LayeredImages:
    """The engine's store.

    Raises:
        NotImplementedYet: it has none. OrlopError: it cannot be opened.
    """
    if engine.layered is None:
        image_stores.open_late(engine, make=True)
    if engine.layered is None:
        raise NotImplementedYet("this engine runs the images of the system, and cannot change them")
    return engine.layered


def check_new_name(reference: Reference) -> None:
    """Refuse a name that would be taken for a digest.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    if reference.familiar_name == "sha256":
        raise InvalidArgument("refusing to create an ambiguous tag using digest algorithm as name")


def publish(engine: Engine, record: ImageRecord, action: str, name: str = "") -> None:
    """An event about an image, with the attributes dockerd gives."""
    labels = record.section().get("Labels") or {}
    engine.events.publish("image", action, record.id, {**labels, "name": name or record.id})


async def _list(engine: Engine, exchange: Exchange) -> None:
    filters = filtering.parse_filters(exchange.text("filters"), LIST_FILTERS)
    everything = exchange.flag("all")
    images = engine.images.all()
    parents = {image.parent for image in images}
    chosen = _Filter(engine, filters)
    found = [
        image
        for image in images
        if chosen.takes(image) and (everything or _has_name(image) or image.id not in parents)
    ]
    result = [render.render_image(chosen.named(image), exchange.api_version) for image in found]
    if exchange.flag("shared-size") and engine.layered is not None:
        shared = render.shared_sizes(images, engine.layered.layer_size)
        for item in result:
            item["SharedSize"] = shared[item["Id"]]
    await exchange.respond_json(200, result)


def usage(engine: Engine) -> list[dict[str, Any]]:
    """The images in `GET /system/df`."""
    images = engine.images.all()
    counts: dict[str, int] = {}
    for container in engine.all():
        counts[container.record.image_id] = counts.get(container.record.image_id, 0) + 1
    sizes = engine.layered.layer_size if engine.layered is not None else lambda _: 0
    shared = render.shared_sizes(images, sizes)
    return [
        render.render_image(image)
        | {"Containers": counts.get(image.id, 0), "SharedSize": shared[image.id]}
        for image in images
    ]


def _has_name(image: Image) -> bool:
    return bool(image.tags or image.digests)


class _Filter:
    """`filters` of a list of images."""

    def __init__(self, engine: Engine, filters: filtering.Filters) -> None:
        self._filters = filters
        self._before_ns = min(
            (engine.images.get(ref).created_ns for ref in filters.get("before", ())), default=None
        )
        self._since_ns = max(
            (engine.images.get(ref).created_ns for ref in filters.get("since", ())), default=None
        )
        self._until_ns = min(map(parse_time, filters.get("until", ())), default=None)
        self._dangling = _truth(filters, "dangling")

    def takes(self, image: Image) -> bool:
        filters = self._filters
        if self._before_ns is not None and image.created_ns >= self._before_ns:
            return False
        if self._since_ns is not None and image.created_ns <= self._since_ns:
            return False
        if self._until_ns is not None and image.created_ns >= self._until_ns:
            return False
        if self._dangling is not None and self._dangling is bool(image.tags):
            return False
        if self._dangling is False and not _has_name(image):
            return False
        if "reference" in filters and not _has_name(self.named(image)):
            return False
        return filtering.match_labels(filters.get("label", ()), dict(image.labels))

    def named(self, image: Image) -> Image:
        """*image* with those of its names that were asked for."""
        patterns = self._filters.get("reference")
        if patterns is None:
            return image

        def fitting(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name for name in names if any(_matches(p, name) for p in patterns))

        return replace(image, tags=fitting(image.tags), digests=fitting(image.digests))


def _truth(filters: filtering.Filters, key: str) -> bool | None:
    values = filters.get(key)
    if values is None:
        return None
    if values <= {"1", "true", "True", "t", "T", "TRUE"}:
        return True
    if values <= {"0", "false", "False", "f", "F", "FALSE"}:
        return False
    raise InvalidArgument(f"invalid filter '{key}={sorted(values)}'")


def _matches(pattern: str, name: str) -> bool:
    """Whether *pattern* fits a familiar name with or without its tag, part by part."""
    bare = parse_reference(name).familiar_name
    return any(
        text.count("/") == pattern.count("/") and fnmatch.fnmatchcase(text, pattern)
        for text in (name, bare)
    )


async def _inspect(engine: Engine, exchange: Exchange) -> None:
    image = engine.images.get(exchange.parameters["name"])
    await exchange.respond_json(200, render.inspect_image(image, exchange.api_version))


async def _history(engine: Engine, exchange: Exchange) -> None:
    image = engine.images.get(exchange.parameters["name"])
    sizes = engine.layered.layer_size if engine.layered is not None else lambda _: 0
    parents = {known.id: known for known in engine.images.all()}
    entries = render.history(image, sizes, parents)
    await exchange.respond_json(200, entries)


async def _tag(engine: Engine, exchange: Exchange) -> None:
    store = store_of(engine)
    repository = exchange.text("repo")
    named = parse_reference(repository)
    tag = exchange.text("tag")
    if named.digest:
        raise InvalidArgument("refusing to create a tag with a digest reference")
    named = named.with_tag(tag) if tag else named.with_default_tag()
    check_new_name(named)
    record = store.find(exchange.parameters["name"])
    await store.tag(record.id, named)
    publish(engine, record, "tag", named.familiar)
    await exchange.respond_empty(201)


async def _load(engine: Engine, exchange: Exchange) -> None:
    store = store_of(engine)
    quiet = exchange.flag("quiet", default=True)
    try:
        async with store.ingest() as session:
            async with body_input(exchange) as body:
                await exchange.begin_stream("application/json")
                loaded = await session.load(body)
            for image in loaded:
                for message in await name_loaded(engine, store, image, quiet=quiet):
                    await exchange.write(progress.encode(message))
    except OrlopError as error:
        # As dockerd: the answer had begun, so that is where it is told.
        await exchange.write(progress.encode(progress.error(str(error))))
    await exchange.end()


async def name_loaded(
    engine: Engine, store: LayeredImages, image: LoadedImage, *, quiet: bool
) -> list[progress.Message]:
    """Give *image* the names that its archive says; what dockerd tells of it."""
    messages = [] if quiet else list(_layer_messages(image))
    record = store.images[image.id]
    for tag in image.tags:
        named = parse_reference(tag).with_default_tag()
        previous = store.lookup(named)
        if previous is not None and previous.id != image.id:
            text = (
                f"The image {named.familiar} already exists, renaming the old one with ID "
                f"{previous.id} to empty string\n"
            )
            messages.append({"stream": text})
        await store.tag(image.id, named)
        messages.append({"stream": f"Loaded image: {named.familiar}\n"})
    if not image.tags:
        messages.append({"stream": f"Loaded image ID: {image.id}\n"})
    publish(engine, record, "load")
    return messages


def _layer_messages(image: LoadedImage) -> Iterator[progress.Message]:
    for layer in image.layers:
        if layer.diff_id in image.new_layers:
            name = short_id(layer.diff_id)
            yield progress.progress("Loading layer", name, layer.tar_bytes, layer.tar_bytes)


def remover(engine: Engine, store: LayeredImages) -> Remover:
    """Deletes images of *store* as far as the engine's containers allow."""
    from orlop.engine.store import removal

    def users() -> Iterator[User]:
        for container in engine.all():
            known = container.record
            yield removal.User(known.id, known.image_id, known.state.is_up)

    def publish_(record: ImageRecord, action: str) -> None:
        publish(engine, record, action)

    return removal.Remover(store, users, publish_)


async def _delete(engine: Engine, exchange: Exchange) -> None:
    store = store_of(engine)
    if not exchange.parameters["name"].strip():
        raise InvalidArgument("image name cannot be blank")
    result = await remover(engine, store).delete(
        exchange.parameters["name"],
        force=exchange.flag("force"),
        prune=not exchange.flag("noprune"),
    )
    await exchange.respond_json(200, result.lines)


async def _prune(engine: Engine, exchange: Exchange) -> None:
    store = store_of(engine)
    filters = filtering.parse_filters(exchange.text("filters"), PRUNE_FILTERS)
    dangling_only = _truth(filters, "dangling") is not False
    until_ns = min(map(parse_time, filters.get("until", ())), default=time.time_ns())
    removing = remover(engine, store)
    used = set(store.images_in_use())
    before = set(store.layers)
    sizes = {diff_id: layer.content_bytes for diff_id, layer in store.layers.items()}
    lines: list[dict[str, str]] = []
    for image in store.all():
        if image.id in used or image.created_ns >= until_ns or not _prunable(image, filters):
            continue
        if image.tags if dangling_only else removing.children(image.id):
            continue
        if dangling_only and removing.children(image.id):
            continue
        # An image that was built takes its parents with it, which come later in this list.
        record = store.images.get(image.id)
        if record is not None:
            deletion: Deletion = await removing.delete_unused(record)
            lines += deletion.lines
    reclaimed = sum(sizes[diff_id] for diff_id in before - set(store.layers))
    engine.events.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
    await exchange.respond_json(200, {"ImagesDeleted": lines or None, "SpaceReclaimed": reclaimed})


def _prunable(image: Image, filters: filtering.Filters) -> bool:
    labels = dict(image.labels)
    unwanted = filters.get("label!", ())
    return filtering.match_labels(filters.get("label", ()), labels) and not any(
        filtering.match_labels([item], labels) for item in unwanted
    )
