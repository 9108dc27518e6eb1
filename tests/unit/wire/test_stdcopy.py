"""Frames of stdout and stderr."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.stdcopy import (
    LINE_BYTES,
    MAX_PAYLOAD_BYTES,
    Decoder,
    Frame,
    LineFramer,
    Stream,
    encode,
)

FRAMES = [
    Frame(Stream.STDOUT, b"out\n"),
    Frame(Stream.STDERR, b""),
    Frame(Stream.STDERR, b"x" * 1000),
]


def test_encoding_is_dockers() -> None:
    assert encode(Stream.STDERR, b"abc") == b"\x02\0\0\0\0\0\0\x03abc"


@pytest.mark.parametrize("step", [1, 3, 5000])
def test_frames_survive_any_division(step: int) -> None:
    data = b"".join(encode(frame.stream, frame.data) for frame in FRAMES)
    decoder = Decoder()
    found = [
        frame
        for start in range(0, len(data), step)
        for frame in decoder.feed(data[start : start + step])
    ]
    assert found == FRAMES
    assert decoder.pending_bytes == 0


@pytest.mark.parametrize(
    "header",
    [b"\x04\0\0\0\0\0\0\0", b"\x01\0\0\0" + (MAX_PAYLOAD_BYTES + 1).to_bytes(4, "big")],
)
def test_what_is_no_frame_is_refused_before_it_is_collected(header: bytes) -> None:
    with pytest.raises(InvalidArgument):
        Decoder().feed(header)


def framed(pieces: list[tuple[Stream, bytes]]) -> list[Frame]:
    framer = LineFramer()
    sent = b"".join(framer.feed(stream, data) for stream, data in pieces)
    return Decoder().feed(sent + framer.flush())


@pytest.mark.parametrize("step", [1, 2, 5, 100])
def test_a_frame_is_a_line_however_it_was_written(step: int) -> None:
    text = b"one\n\nthree\nand no end"
    pieces = [(Stream.STDOUT, text[at : at + step]) for at in range(0, len(text), step)]
    assert [frame.data for frame in framed(pieces)] == [
        *(b"one\n", b"\n", b"three\n", b"and no end"),
    ]


def test_lines_of_two_streams_do_not_mix() -> None:
    pieces = [(Stream.STDOUT, b"o"), (Stream.STDERR, b"e\nf"), (Stream.STDOUT, b"ut\n")]
    assert framed(pieces) == [
        Frame(Stream.STDERR, b"e\n"),
        Frame(Stream.STDOUT, b"out\n"),
        Frame(Stream.STDERR, b"f"),
    ]


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    framer = LineFramer()
    sent = framer.feed(Stream.STDOUT, b"x" * (LINE_BYTES + 1))
    assert Decoder().feed(sent) == [Frame(Stream.STDOUT, b"x" * (LINE_BYTES + 1))]
    assert framer.flush() == b""
