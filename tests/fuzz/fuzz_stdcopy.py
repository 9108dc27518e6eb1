"""Frames come out the same however the bytes are divided, and encode to as many bytes again."""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument
from orlop.wire.stdcopy import Decoder, Frame, LineFramer, Stream, encode

SEEDS = (
    encode(Stream.STDOUT, b"hello\n") + encode(Stream.STDERR, b""),
    encode(Stream.STDIN, b"x" * 300),
    b"\x01\0\0\0\x00\x20\0\0",
    b"\x09\0\0\0\0\0\0\x01a",
)
TOKENS = (b"\0\0\0", b"\x01", b"\x02", b"\xff\xff\xff\xff", b"\n")


def _decode(data: bytes, step: int) -> tuple[list[Frame], int]:
    decoder, frames = Decoder(), []
    try:
        for at in range(0, len(data), step):
            frames += decoder.feed(data[at : at + step])
    except InvalidArgument:
        return frames, -1
    return frames, decoder.pending_bytes


def check(data: bytes) -> None:
    pieces, left = _decode(data, 1)
    whole, rest = _decode(data, len(data) or 1)
    assert left == rest
    if left >= 0:
        assert whole == pieces
        again = b"".join(encode(frame.stream, frame.data) for frame in whole)
        # The three bytes after the stream's number mean nothing.
        assert len(again) + left == len(data)
    framer = LineFramer()
    sent = b"".join(framer.feed(Stream.STDOUT, data[at : at + 7]) for at in range(0, len(data), 7))
    frames = Decoder().feed(sent + framer.flush())
    assert b"".join(frame.data for frame in frames) == data
