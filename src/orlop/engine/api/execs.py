"""Requests about further processes in containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.api.attach import Attachment, stream_type
from orlop.engine.api.containers import window
from orlop.engine.api.create_request import parse_console_size, parse_environment
from orlop.engine.api.router import Route
from orlop.engine.container.exec_session import ExecRequest, ExecSession
from orlop.engine.container.state import State
from orlop.lib.errors import Conflict, InvalidArgument, NotFound, OrlopError
from orlop.wire import detach_keys, stdcopy
from orlop.wire.docker.fields import Object
from orlop.wire.stdcopy import Stream

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange
    from orlop.engine.engine import Engine


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""

    async def create(exchange: Exchange) -> None:
        request = parse_exec(Object(await exchange.json()))
        ref = exchange.parameters["id"]
        container = engine.find(ref)
        if container.record.state is State.PAUSED:
            raise Conflict(f"Container {ref} is paused, unpause the container before exec")
        session = await container.exec_create(request)
        container.publish(
            f"exec_create: {' '.join(session.request.arguments)}", {"execID": session.id}
        )
        await exchange.respond_json(201, {"Id": session.id})

    async def start(exchange: Exchange) -> None:
        body = Object(await exchange.json())
        await _start(_find(engine, exchange), exchange, body)

    async def inspect(exchange: Exchange) -> None:
        await exchange.respond_json(200, render(_find(engine, exchange)))

    async def resize(exchange: Exchange) -> None:
        size = window(exchange)
        session = _find(engine, exchange)
        if not session.container.record.state.is_up:
            raise Conflict(f"container {session.container.record.id} is not running")
        session.resize(*size)
        await exchange.respond_empty(200)

    return [
        Route("POST", "/containers/{id}/exec", create),
        Route("POST", "/exec/{id}/start", start),
        Route("GET", "/exec/{id}/json", inspect),
        Route("POST", "/exec/{id}/resize", resize),
    ]


def parse_exec(body: Object) -> ExecRequest:
    """The body of a create request.

    Raises:
        InvalidArgument: with the field.
    """
    command, keys = body.text_or_texts("Cmd"), body.text("DetachKeys")
    detach_keys.parse(keys)
    if not command:
        raise InvalidArgument("No exec command specified")
    return ExecRequest(
        arguments=command,
        environment=parse_environment(body.texts("Env")),
        user=body.text("User"),
        working_dir=body.text("WorkingDir"),
        privileged=body.flag("Privileged"),
        tty=body.flag("Tty"),
        stdin=body.flag("AttachStdin"),
        stdout=body.flag("AttachStdout"),
        stderr=body.flag("AttachStderr"),
        detach_keys=keys,
        console_size=parse_console_size(body),
    )


def _find(engine: Engine, exchange: Exchange) -> ExecSession:
    wanted = exchange.parameters["id"]
    for container in engine.all():
        session = container.execs.get(wanted)
        if session is not None:
            return session
    raise NotFound(f"No such exec instance: {wanted}")


async def _start(session: ExecSession, exchange: Exchange, body: Object) -> None:
    request = session.request
    size = parse_console_size(body)
    if size is not None and request.tty:
        session.resize(*size)
    if body.flag("Detach"):
        await session.start()
        await exchange.respond_empty(200)
        return
    keys = detach_keys.parse(request.detach_keys) if request.tty else b""
    # What dockerd goes by: not the terminal that there is, but the one this request speaks of.
    raw_output = body.flag("Tty")
    wanted = frozenset(
        stream
        for stream, is_wanted in ((Stream.STDOUT, request.stdout), (Stream.STDERR, request.stderr))
        if is_wanted
    )
    session.check_startable()
    raw = await exchange.hijack(stream_type(raw_output, exchange.api_version))
    attachment = Attachment(raw, session.listeners, wanted, framed=not raw_output)
    attachment.begin()
    try:
        await session.start()
        await attachment.run(session if request.stdin else None, keys, close_sink=True)
    except OrlopError as error:
        # Too late for a status. Clients show this and then ask for the exit code.
        text = f"{error}\r\n".encode()
        raw.write(text if raw_output else stdcopy.encode(Stream.STDOUT, text))
    finally:
        attachment.end()
    await raw.close()


def render(session: ExecSession) -> dict[str, Any]:
    """`GET /exec/ID/json`."""
    request = session.request
    return {
        "ID": session.id,
        "Running": session.running,
        "ExitCode": session.exit_code,
        "ProcessConfig": {
            "tty": request.tty,
            "entrypoint": request.arguments[0],
            "arguments": list(request.arguments[1:]),
            "privileged": request.privileged,
            "user": request.user,
        },
        "OpenStdin": request.stdin,
        "OpenStderr": request.stderr,
        "OpenStdout": request.stdout,
        "CanRemove": not session.running,
        "ContainerID": session.container.record.id,
        "DetachKeys": request.detach_keys,
        "Pid": session.pid,
    }
