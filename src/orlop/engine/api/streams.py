"""Requests about containers whose answer takes time: logs, wait, stats, attach."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from orlop.engine.api import settling
from orlop.engine.api.attach import Attachment, stream_type
from orlop.engine.api.router import Route, bind
from orlop.engine.api.times import parse_time
from orlop.engine.container.state import State, WaitCondition
from orlop.engine.logs.reader import LineStamper, LogQuery, LogReader
from orlop.lib.errors import Conflict, InvalidArgument, NotImplementedYet
from orlop.wire import detach_keys, stdcopy
from orlop.wire.docker.fields import quoted
from orlop.wire.stdcopy import Stream

if TYPE_CHECKING:
    from orlop.engine.api.attach import ByteStream
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.container.container import Container
    from orlop.engine.engine import Engine

STATS_INTERVAL_S = 1.0


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""

    on = bind(engine)
    return [
        on("GET", "/containers/{id}/logs", _logs),
        on("POST", "/containers/{id}/wait", _wait),
        on("GET", "/containers/{id}/stats", _stats),
        on("POST", "/containers/{id}/attach", _attach),
        on("GET", "/containers/{id}/attach/ws", _attach_websocket),
    ]


def parse_log_query(exchange: Exchange) -> LogQuery:
    """What a logs request selects.

    Raises:
        InvalidArgument: neither stream, or a bad time or number.
    """
    streams = frozenset(
        stream for stream in (Stream.STDOUT, Stream.STDERR) if exchange.flag(stream.name.lower())
    )
    if not streams:
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    tail = exchange.text("tail", "all")
    return LogQuery(
        streams=streams,
        since_ns=parse_time(exchange.text("since")),
        until_ns=parse_time(exchange.text("until")),
        # As docker: what is no number means everything.
        tail=int(tail) if tail.isdigit() else None,
        timestamps=exchange.flag("timestamps"),
        follow=exchange.flag("follow"),
    )


async def _logs(engine: Engine, exchange: Exchange) -> None:
    container = engine.find(exchange.parameters["id"])
    query = parse_log_query(exchange)
    if container.config.log_driver == "none":
        raise NotImplementedYet("configured logging driver does not support reading")
    if not query.follow:
        await settling.await_first_output(container)
    await exchange.begin_stream(stream_type(container.config.tty, exchange.api_version))
    details = b""
    if exchange.flag("details"):
        from orlop.engine.logs.attributes import details as details_of

        details = details_of(container.record)
    stamper = LineStamper(timestamps=query.timestamps, details=details)
    stamps = query.timestamps or bool(details)

    def ended() -> bool:
        return container.removed or not (
            container.record.state.is_up or container.record.state is State.RESTARTING
        )

    framer = None if container.config.tty else stdcopy.LineFramer()
    async for block in LogReader(container.log, query).blocks(ended):
        data = stamper.stamp(block) if stamps else block.payload
        await exchange.write(data if framer is None else framer.feed(block.stream, data))
    if framer is not None:
        await exchange.write(framer.flush())
    await exchange.end()


async def _wait(engine: Engine, exchange: Exchange) -> None:
    container = engine.find(exchange.parameters["id"])
    name = exchange.text("condition") or WaitCondition.NOT_RUNNING.value
    if name not in WaitCondition:
        raise InvalidArgument(f"invalid condition: {quoted(name)}")
    # Both the waiting and the answer's head must begin before the client starts the container.
    waiting = asyncio.ensure_future(container.wait(WaitCondition(name)))
    try:
        await asyncio.sleep(0)
        await exchange.begin_stream("application/json")
        code = await waiting
        await exchange.write_json({"StatusCode": code})
        await exchange.end()
    finally:
        waiting.cancel()


async def _stats(engine: Engine, exchange: Exchange) -> None:
    container = engine.find(exchange.parameters["id"])
    from orlop.engine.container import stats

    stream = exchange.flag("stream", default=True)
    one_shot = exchange.flag("one-shot")

    def read(before: stats.Sample | None) -> tuple[dict[str, Any], stats.Sample | None]:
        if not container.record.state.is_up:
            return _empty_stats(container), None
        sample = stats.take_sample(container)
        return stats.render(container, sample, before), sample

    if not stream:
        value, sample = read(None)
        if not one_shot and sample is not None:
            await asyncio.sleep(STATS_INTERVAL_S)
            value, _ = read(sample)
        await exchange.respond_json(200, value)
        return
    await exchange.begin_stream("application/json")
    before: stats.Sample | None = None
    while not container.removed:
        value, before = read(before)
        await exchange.write_json(value)
        await asyncio.sleep(STATS_INTERVAL_S)
    await exchange.end()


def _empty_stats(container: Container) -> dict[str, Any]:
    return {
        "name": f"/{container.name}",
        "id": container.record.id,
        "read": "0001-01-01T00:00:00Z",
        "preread": "0001-01-01T00:00:00Z",
        "pids_stats": {},
        "blkio_stats": {},
        "cpu_stats": {"cpu_usage": {"total_usage": 0}},
        "precpu_stats": {"cpu_usage": {"total_usage": 0}},
        "memory_stats": {},
    }


async def _attach(engine: Engine, exchange: Exchange) -> None:
    container = engine.find(exchange.parameters["id"])
    _refuse_attach(container)
    detach_keys.parse(exchange.text("detachKeys"))
    raw = await exchange.hijack(stream_type(container.config.tty, exchange.api_version))
    if exchange.flag("logs"):
        await raw.settle()
    await _run_attach(container, exchange, raw, framed=not container.config.tty)


def _refuse_attach(container: Container) -> None:
    if container.record.state is State.PAUSED:
        raise Conflict(
            f"Container {container.record.id} is paused, unpause the container before attach."
        )


async def _attach_websocket(engine: Engine, exchange: Exchange) -> None:
    from orlop.engine.api import websocket_stream

    container = engine.find(exchange.parameters["id"])
    _refuse_attach(container)
    raw = await websocket_stream.accept(exchange)
    await _run_attach(container, exchange, raw, framed=False)


async def _run_attach(
    container: Container, exchange: Exchange, raw: ByteStream, *, framed: bool
) -> None:
    config = container.config
    keys = detach_keys.parse(exchange.text("detachKeys")) if config.tty else b""
    stream, logs = exchange.flag("stream"), exchange.flag("logs")
    wanted = frozenset(s for s in (Stream.STDOUT, Stream.STDERR) if exchange.flag(s.name.lower()))
    attachment = Attachment(raw, container.io.listeners, wanted, framed=framed)
    if logs:
        async for block in LogReader(container.log, LogQuery(streams=wanted)).blocks():
            attachment.deliver(block.stream, block.payload)
    if not stream:
        await raw.close()
        return
    attachment.begin()
    container.publish("attach")
    takes_input = exchange.flag("stdin") and config.stdin_open
    try:
        await attachment.run(
            container.io if takes_input else None, keys, close_sink=config.stdin_once
        )
    finally:
        attachment.end()
    if attachment.detached:
        container.publish("detach")
    await raw.close()
