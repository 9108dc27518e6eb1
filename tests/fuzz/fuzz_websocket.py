"""Messages come out the same however the bytes are divided, or are refused as a protocol error."""

from __future__ import annotations

from orlop.wire.websocket import Decoder, Message, ProtocolError, unmask

_MASK = b"abcd"


def _frame(first: int, data: bytes) -> bytes:
    return bytes([first, 0x80 | len(data)]) + _MASK + unmask(data, _MASK)


SEEDS = (
    _frame(0x81, b"text") + _frame(0x82, b"\0\1"),
    _frame(0x01, b"be") + _frame(0x89, b"ping") + _frame(0x80, b"gun"),
    _frame(0x88, b"\x03\xe8"),
    b"\x82\xfe\x01\x00" + _MASK + b"x" * 256,
)
TOKENS = (b"\x81", b"\x80", b"\xff", b"\xfe", b"\x88\x80abcd", b"\0" * 8)


def _decode(data: bytes, step: int) -> tuple[list[Message], bool]:
    decoder, messages = Decoder(), []
    try:
        for at in range(0, len(data), step):
            messages += decoder.feed(data[at : at + step])
    except ProtocolError:
        return messages, True
    return messages, False


def check(data: bytes) -> None:
    pieces, refused = _decode(data, 1)
    whole, also = _decode(data, len(data) or 1)
    assert refused == also
    if not refused:
        assert whole == pieces
