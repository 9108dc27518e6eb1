"""Requests that make images and archives of containers: commit, import, export, changes."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from typing import TYPE_CHECKING, Any

from orlop.engine.api import render
from orlop.engine.api.body import body_input
from orlop.engine.api.image_store import check_new_name, publish, store_of
from orlop.engine.api.router import Route, bind
from orlop.engine.api.times import to_text
from orlop.engine.container.state import State
from orlop.engine.store import child_image, container_tree
from orlop.engine.store.byte_input import ByteInput
from orlop.engine.worker_process import read_some
from orlop.lib.errors import Conflict, InvalidArgument, OrlopError
from orlop.wire.registry import progress
from orlop.wire.registry.platform import host_platform, parse_platform
from orlop.wire.registry.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orlop.engine.api.exchange import Exchange
    from orlop.engine.container.container import Container
    from orlop.engine.engine import Engine
    from orlop.wire.registry.reference import Reference

MAX_TEXT = 1 << 16
PIECE_BYTES = 32 << 10


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""
    on = bind(engine)
    return [
        on("POST", "/commit", _commit),
        on("GET", "/containers/{id}/export", _export),
        on("GET", "/containers/{id}/changes", _changes),
    ]


async def _changes(engine: Engine, exchange: Exchange) -> None:
    container = engine.find(exchange.parameters["id"])
    async with container_tree.changes(container) as found:
        change = await anext(found, None)
        if change is None:
            await exchange.respond_json(200, None)
            return
        await exchange.begin_stream("application/json")
        text = b"["
        while change is not None:
            text += json.dumps(change, separators=(",", ":")).encode()
            change = await anext(found, None)
            text += b"]\n" if change is None else b","
            if len(text) > PIECE_BYTES or change is None:
                await exchange.write(text)
                text = b""
    await exchange.end()


async def _export(engine: Engine, exchange: Exchange) -> None:
    container = engine.find(exchange.parameters["id"])
    if container.record.state in (State.DEAD, State.REMOVING):
        raise Conflict(f"You cannot export container {container.record.id} which is Dead")
    async with container_tree.export(container) as descriptor:
        container.publish("export")
        os.set_blocking(descriptor, False)
        data = await read_some(descriptor)
        await exchange.begin_stream("application/octet-stream")
        while data:
            await exchange.write(data)
            data = await read_some(descriptor)
    await exchange.end()


async def _commit(engine: Engine, exchange: Exchange) -> None:
    store = store_of(engine)
    given = await exchange.json()
    container = engine.find(exchange.text("container"))
    reference = wanted_reference(exchange.text("repo"), exchange.text("tag"))
    changes = exchange.query.get("changes", [])
    author, comment = exchange.text("author")[:MAX_TEXT], exchange.text("comment")[:MAX_TEXT]
    state = container.record.state
    if state in (State.DEAD, State.REMOVING):
        what = "Dead" if state is State.DEAD else "being removed"
        raise Conflict(f"You cannot commit container {container.record.id} which is {what}")
    own = render.inspect(container)["Config"]
    config = child_image.merge_config(_with_changes(given or own, changes), own)
    parent = store.images.get(container.record.image_id)
    async with store.ingest() as session:
        if parent is not None:
            for diff_id in parent.layers:
                session.reuse(diff_id)
        async with (
            _paused(container, wanted=exchange.flag("pause", default=True)),
            container_tree.diff(container) as descriptor,
        ):
            added = await session.add_layer(descriptor)
        entry = {
            "created_by": " ".join(own.get("Cmd") or ()),
            "author": author,
            "comment": comment,
        }
        document = child_image.child_config(
            parent.config if parent else {},
            diff_id=added.layer.diff_id,
            config=_plain(config),
            entry=entry,
            created=to_text(time.time_ns()),
            author=author,
            comment=comment,
            platform=_host(),
            version=engine.settings.version,
        )
        image_id = await session.add_image(
            document,
            references=[reference] if reference else [],
            parent=parent.id if parent else "",
        )
    attributes = {"comment": comment, "imageID": image_id}
    # It may have been deleted already.
    if (made := store.images.get(image_id)) is not None:
        publish(engine, made, "create")
    container.publish("commit", {**attributes, "imageRef": reference.familiar if reference else ""})
    if reference and made is not None:
        publish(engine, made, "tag", reference.familiar)
    await exchange.respond_json(201, {"Id": image_id})


@contextlib.asynccontextmanager
async def _paused(container: Container, *, wanted: bool) -> AsyncIterator[None]:
    """Nothing in the container runs meanwhile, so that its files belong together."""
    paused = False
    if wanted and container.record.state is State.RUNNING:
        # It may end at any moment; then nothing runs either.
        with contextlib.suppress(Conflict):
            await container.pause()
            paused = True
    try:
        yield
    finally:
        if paused:
            with contextlib.suppress(OrlopError):
                await container.unpause()


def wanted_reference(repository: str, tag: str) -> Reference | None:
    """What the parameters `repo` and `tag` name; None: nothing.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    if not repository:
        return None
    named = parse_reference(repository)
    if named.digest:
        raise InvalidArgument("cannot import digest reference")
    named = named.with_tag(tag) if tag else named.with_default_tag()
    check_new_name(named)
    return named


def _with_changes(config: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    from orlop.wire.dockerfile import changes as change_lines
    from orlop.wire.dockerfile import image_config

    if not changes:
        return config
    changed = change_lines.apply_changes(image_config.from_json(config), changes)
    return image_config.to_json(changed)


_RUN_TIME_ONLY = frozenset({"Image", "Hostname", "Domainname", "MacAddress", "StopTimeout"})


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """Without what is not set and what belongs to one container."""
    return {key: value for key, value in config.items() if value and key not in _RUN_TIME_ONLY}


def _host() -> dict[str, str]:
    machine = host_platform(platform.machine())
    return {"os": machine.os, "architecture": machine.architecture}


@contextlib.asynccontextmanager
async def _import_input(
    engine: Engine, exchange: Exchange, source: str
) -> AsyncIterator[ByteInput]:
    """The archive in the body, or the one at the address *source*, where the answer begins.

    Raises:
        InvalidArgument: the address cannot be fetched.
    """
    if source == "-":
        async with body_input(exchange) as body:
            yield body
        return
    from orlop.engine.api.build import builds_of
    from orlop.engine.build.downloads import fetched, is_url

    url = source if is_url(source) else f"http://{source}"
    async with builds_of(engine).directory() as directory:
        await exchange.begin_stream("application/json")
        await exchange.write(progress.encode(progress.status(f"Downloading from {url}")))
        async with fetched(engine, url, directory, {}) as found:
            yield ByteInput(found.descriptor)


async def import_image(engine: Engine, exchange: Exchange) -> None:
    """`POST /images/create?fromSrc=…`: an image of one layer, from a tar."""
    store = store_of(engine)
    source = exchange.text("fromSrc")
    if "://" in source and not source.lower().startswith(("http://", "https://")):
        raise InvalidArgument(f"cannot import from {source[:200]!r}: only http and https are")
    reference = wanted_reference(exchange.text("repo"), exchange.text("tag"))
    wanted = host_platform(platform.machine())
    if text := exchange.text("platform"):
        wanted = parse_platform(text, wanted)
        if wanted.os != "linux":
            raise InvalidArgument("operating system is not supported")
    message = exchange.text("message")[:MAX_TEXT] or f"Imported from {source}"
    config = _with_changes({}, exchange.query.get("changes", []))
    try:
        async with store.ingest() as session:
            async with _import_input(engine, exchange, source) as body:
                added = await session.add_layer(body, keep_blob=False)
            document = child_image.child_config(
                {},
                diff_id=added.layer.diff_id,
                config=config,
                entry={"comment": message},
                created=to_text(time.time_ns()),
                comment=message,
                platform={"os": wanted.os, "architecture": wanted.architecture},
                version=engine.settings.version,
            )
            names = [reference] if reference else []
            image_id = await session.add_image(document, references=names)
        if (made := store.images.get(image_id)) is not None:
            publish(engine, made, "import")
    except OrlopError as error:
        if not exchange.responded:
            raise
        await exchange.write(progress.encode(progress.error(str(error))))
        await exchange.end()
        return
    if not exchange.responded:
        # Only now: clients that do not read on look for the image as soon as an answer begins.
        await exchange.begin_stream("application/json")
    await exchange.write(progress.encode(progress.status(image_id)))
    await exchange.end()
