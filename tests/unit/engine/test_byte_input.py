"""A request's body taken apart in a worker, whatever pieces it comes in."""

import os
import threading

import pytest

from orlop.engine.store.byte_input import InputReader
from orlop.wire.tar import TarError

DATA = bytes(range(256)) * 40
CHUNKED = b"5\r\nhello\r\n%x;name=value\r\n%b\r\n0\r\nTrailer: x\r\n\r\nGET /next" % (
    len(DATA),
    DATA,
)


def read(content: bytes, job: dict[str, object], buffered: bytes, step: int) -> bytes:
    """Write *content* in pieces of *step* bytes, with *buffered* beside it; what comes out."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    early = os.memfd_create("early")
    os.write(early, buffered)

    def send() -> None:
        for at in range(0, len(content), step):
            os.write(writing, content[at : at + step])
        os.close(writing)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        reader = InputReader(reading, job, early)
        result = b""
        while piece := reader.read():
            result += piece
        return result
    finally:
        sender.join()
        os.close(reading)
        os.close(early)


@pytest.mark.parametrize("step", [1, 7, 100_000])
@pytest.mark.parametrize("early", [0, 1, 4, 9, 500])
def test_chunks(step: int, early: int) -> None:
    found = read(CHUNKED[early:], {"framing": "chunks"}, CHUNKED[:early], step)

    assert found == b"hello" + DATA


@pytest.mark.parametrize("early", [0, 10, len(DATA)])
def test_a_length(early: int) -> None:
    job: dict[str, object] = {"framing": "length", "left": len(DATA)}

    assert read(DATA[early:] + b"next", job, DATA[:early], 1000) == DATA


def test_to_the_end() -> None:
    assert read(DATA[5:], {}, DATA[:5], 1000) == DATA
    assert read(b"", {"framing": "length", "left": 0}, b"", 1) == b""


@pytest.mark.parametrize(
    "content",
    [b"5\r\nhel", b"", b"x\r\n", b"-5\r\nhello\r\n", b"5\r\nhello!\r\n0\r\n\r\n", b"1" * 5000],
)
def test_broken_chunks_are_told(content: bytes) -> None:
    with pytest.raises(TarError):
        read(content, {"framing": "chunks"}, b"", 10)


def test_a_length_that_does_not_come() -> None:
    with pytest.raises(TarError, match="EOF"):
        read(b"abc", {"framing": "length", "left": 4}, b"", 1)
