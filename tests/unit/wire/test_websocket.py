"""Frames and messages of RFC 6455, whole and byte by byte."""

from __future__ import annotations

import struct

import pytest

from orlop.wire.websocket import (
    MAX_MESSAGE_BYTES,
    Decoder,
    Message,
    Opcode,
    ProtocolError,
    accept_key,
    encode,
    encode_close,
    unmask,
)


def client_frame(opcode: int, data: bytes, *, final: bool = True, mask: bytes = b"abcd") -> bytes:
    """What a client sends."""
    head = bytes([(0x80 if final else 0) | opcode])
    if len(data) < 126:
        head += bytes([0x80 | len(data)])
    elif len(data) < 1 << 16:
        head += bytes([0xFE]) + struct.pack(">H", len(data))
    else:
        head += bytes([0xFF]) + struct.pack(">Q", len(data))
    return head + mask + unmask(data, mask)


def test_handshake_of_the_specification() -> None:
    # RFC 6455, section 1.3.
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_frames_of_the_specification() -> None:
    # RFC 6455, section 5.7.
    masked = bytes.fromhex("818537fa213d7f9f4d5158")
    assert Decoder().feed(masked) == [Message(Opcode.TEXT, b"Hello")]
    assert encode(Opcode.TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")
    assert encode(Opcode.BINARY, bytes(256))[:4] == bytes.fromhex("827e0100")
    assert encode(Opcode.BINARY, bytes(65536))[:10] == bytes.fromhex("827f0000000000010000")
    assert encode_close(1001) == bytes.fromhex("880203e9")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, MAX_MESSAGE_BYTES])
def test_every_length(size: int) -> None:
    data = (b"0123456789" * (size // 10 + 1))[:size]
    assert Decoder().feed(client_frame(2, data)) == [Message(Opcode.BINARY, data)]


def test_byte_by_byte_and_in_pieces() -> None:
    stream = (
        client_frame(1, b"one ", final=False)
        + client_frame(9, b"ping")
        + client_frame(0, b"two ", final=False)
        + client_frame(0, b"three")
        + client_frame(2, bytes(300))
        + client_frame(8, struct.pack(">H", 1000))
    )
    expected = [
        Message(Opcode.PING, b"ping"),
        Message(Opcode.TEXT, b"one two three"),
        Message(Opcode.BINARY, bytes(300)),
        Message(Opcode.CLOSE, struct.pack(">H", 1000)),
    ]
    assert Decoder().feed(stream) == expected
    decoder = Decoder()
    found = [message for byte in stream for message in decoder.feed(bytes([byte]))]
    assert found == expected


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x05Hello",  # not masked
        b"\xc1\x80abcd",  # a reserved bit
        b"\x83\x80abcd",  # an unknown kind
        client_frame(0, b"x"),  # continues nothing
        client_frame(1, b"x", final=False) + client_frame(1, b"y"),  # begins twice
        b"\x09\x80abcd",  # a ping in pieces
        b"\x89\xfe\x00\x80",  # a long ping
        b"\x82\xff" + struct.pack(">Q", MAX_MESSAGE_BYTES + 1),
        b"\x82\xff" + b"\xff" * 8,
    ],
)
def test_who_breaks_the_rules_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(data)


def test_a_message_in_many_pieces_is_bounded() -> None:
    decoder = Decoder()
    piece = bytes(MAX_MESSAGE_BYTES // 2 + 1)
    decoder.feed(client_frame(2, piece, final=False))
    with pytest.raises(ProtocolError) as caught:
        decoder.feed(client_frame(0, piece))
    assert caught.value.code == 1009
