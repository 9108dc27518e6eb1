"""Frames of stdout and stderr."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.stdcopy import MAX_PAYLOAD_BYTES, Decoder, Frame, Stream, encode

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
