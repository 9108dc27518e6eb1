"""The body of a request as a descriptor, for a worker to read: this process does not look at it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from orlop.engine.store.byte_input import ByteInput
from orlop.engine.worker_process import write_all
from orlop.lib.errors import InvalidArgument, OrlopError

if TYPE_CHECKING:
    import io
    from collections.abc import AsyncIterator

    from orlop.engine.api.exchange import Exchange

PIPE_BYTES = 1 << 20


@contextlib.asynccontextmanager
async def body_input(exchange: Exchange) -> AsyncIterator[ByteInput]:
    """The body for a worker: the client's own socket, or a pipe where it is encrypted.

    Call it before the answer has begun.

    Raises:
        InvalidArgument: as `body_pipe`.
    """
    taken = exchange.hand_over_body()
    if taken is None:
        async with body_pipe(exchange) as reading:
            yield ByteInput(reading)
        return
    descriptor, framing, left, buffered = taken
    # A copy: the client may be gone, and the number another's, before the worker has started.
    descriptor = os.dup(descriptor)
    try:
        yield ByteInput(
            descriptor, *(("length", 0) if framing == "none" else (framing, left)), buffered
        )
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def body_pipe(exchange: Exchange) -> AsyncIterator[int]:
    """A descriptor with the rest of the body, to its end, while the block runs.

    Raises:
        InvalidArgument: at the end of the block, when the client broke off.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    end = open(writing, "wb", buffering=0)  # noqa: SIM115 - closed by whoever is first
    pump: asyncio.Task[bool] | None = None
    try:
        with contextlib.suppress(OSError):
            # Root may; an engine without its rights makes do with a smaller one.
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(writing, False)
        pump = asyncio.get_running_loop().create_task(_pump(exchange, end))
        try:
            yield reading
        except OrlopError as error:
            if pump.done() and not pump.cancelled() and not pump.result():
                raise InvalidArgument(f"unexpected EOF: {error}") from error
            raise
        if not await pump:
            raise InvalidArgument("unexpected EOF")
    finally:
        os.close(reading)
        if pump is not None and not pump.done():
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        # One that was cancelled before it began has closed nothing.
        end.close()


async def _pump(exchange: Exchange, end: io.FileIO) -> bool:
    """Whether the whole body has been passed on, or was not wanted to its end."""
    try:
        async for part in exchange.body_parts():
            await write_all(end.fileno(), part)
    except BrokenPipeError:
        return True
    except Exception:  # noqa: BLE001 - whatever breaks a connection: the reader sees the end
        return False
    finally:
        end.close()
    return True
