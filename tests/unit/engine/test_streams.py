"""Output on its way from a container's pipe into its log."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
import tty

from orlop.engine.container.streams import BUSY_PIPE_BYTES, READ_BYTES, Pump
from orlop.wire.stdcopy import Stream


class Taker:
    """Takes whatever it is given."""

    def __init__(self) -> None:
        self.data = bytearray()

    def deliver(self, _stream: Stream, data: bytes) -> bool:
        self.data += data
        return True


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


def test_who_writes_little_and_often_is_read_in_larger_pieces() -> None:
    taker = Taker()

    async def scenario() -> int:
        reading, writing = os.pipe2(os.O_NONBLOCK)
        pump = Pump(reading, Stream.STDOUT, taker.deliver)
        pump.start()
        count = 0
        # How soon the loop comes round is not ours to say: until it was quick twice.
        while fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ) < BUSY_PIPE_BYTES:
            os.write(writing, b"%09d\n" % count)
            count += 1
            await asyncio.sleep(0)
        while len(taker.data) < 10 * count:
            await asyncio.sleep(0.001)
        pump.close()
        os.close(writing)
        return count

    count = asyncio.run(asyncio.wait_for(scenario(), 30))
    assert taker.data == b"".join(b"%09d\n" % number for number in range(count))


def test_a_terminal_is_read_without_rests() -> None:
    taker = Taker()

    async def scenario() -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        pump = Pump(master, Stream.STDOUT, taker.deliver)
        pump.start()
        for _ in range(200):
            os.write(slave, b"0123456789")
            await asyncio.sleep(0)
            assert pump._timer is None
        while len(taker.data) < 2000:
            await asyncio.sleep(0.001)
        pump.close()
        os.close(slave)

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert taker.data == b"0123456789" * 200
