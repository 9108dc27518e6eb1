"""Output on its way from a container's pipe into its log."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios

from orlop.engine.streams import READ_BYTES, Pump
from orlop.wire.stdcopy import Stream


def waiting(fd: int) -> int:
    """How much is in the pipe."""
    return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0])


def test_output_leaves_the_pipe_only_when_it_is_delivered() -> None:
    async def body() -> None:
        reading, writing = os.pipe2(os.O_NONBLOCK)
        found: list[tuple[bytes, int]] = []

        def deliver(_stream: Stream, data: bytes) -> bool:
            found.append((data, waiting(reading)))
            return True

        pump = Pump(reading, Stream.STDOUT, deliver, is_kept=True)
        os.write(writing, b"one\n")
        os.write(writing, b"two\n")
        pump.drain()
        os.write(writing, b"three\n")
        pump.drain()
        pump.close()
        os.close(writing)
        assert found == [(b"one\ntwo\n", 8), (b"three\n", 6)]

    asyncio.run(body())


def test_a_full_pipe_is_passed_on_whole() -> None:
    async def body() -> None:
        reading, writing = os.pipe2(os.O_NONBLOCK)
        data = os.urandom(READ_BYTES)
        found: list[bytes] = []

        def deliver(_stream: Stream, data: bytes) -> bool:
            found.append(data)
            return True

        pump = Pump(reading, Stream.STDERR, deliver, is_kept=True)
        assert os.write(writing, data) == len(data)
        pump.drain()
        assert waiting(reading) == 0
        pump.close()
        os.close(writing)
        assert b"".join(found) == data

    asyncio.run(body())


def test_the_last_output_ends_although_somebody_writes_for_ever() -> None:
    async def body() -> None:
        reading, writing = os.pipe2(os.O_NONBLOCK)
        found: list[bytes] = []

        def deliver(_stream: Stream, data: bytes) -> bool:
            found.append(data)
            assert len(found) < 100, "it goes on for ever"
            os.write(writing, data)
            return True

        pump = Pump(reading, Stream.STDOUT, deliver)
        os.write(writing, b"x" * (16 << 10))
        pump.drain()
        pump.close()
        os.close(writing)
        assert b"".join(found) == b"x" * (64 << 10)

    asyncio.run(body())
