"""WebSocket, the server's side, without I/O: RFC 6455 framing and the opening handshake.

`feed` takes what was received and gives messages; `encode` makes frames. No extensions. Text and
binary messages are both bytes here: what a terminal sends is bytes. Bounds: a frame and a message
made of several have at most `MAX_MESSAGE_BYTES`.
"""

from __future__ import annotations

import struct

# Not hashlib: that loads OpenSSL's library.
from _sha1 import sha1  # type: ignore[import-not-found,unused-ignore]
from base64 import b64encode
from dataclasses import dataclass
from enum import IntEnum

MAX_MESSAGE_BYTES = 1 << 20
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTROL = 8
_MAX_CONTROL_BYTES = 125


class Opcode(IntEnum):
    """What a frame is, RFC 6455 section 5.2."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class ProtocolError(Exception):
    """The peer does not speak WebSocket. *code* is what a close frame says about it."""

    def __init__(self, message: str, code: int = 1002) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message, or a control frame."""

    opcode: Opcode
    data: bytes


def accept_key(key: str) -> str:
    """The answer to `Sec-WebSocket-Key`."""
    return b64encode(sha1(key.encode("latin-1") + _GUID).digest()).decode()


def encode(opcode: Opcode, data: bytes) -> bytes:
    """One unmasked frame, which is a whole message: what a server sends."""
    head = bytes([0x80 | opcode])
    if len(data) <= _MAX_CONTROL_BYTES:
        return head + bytes([len(data)]) + data
    if len(data) < 1 << 16:
        return head + b"\x7e" + struct.pack(">H", len(data)) + data
    return head + b"\x7f" + struct.pack(">Q", len(data)) + data


def encode_close(code: int = 1000) -> bytes:
    """The frame that ends a connection."""
    return encode(Opcode.CLOSE, struct.pack(">H", code))


class Decoder:
    """What one client sends, put together."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._parts = bytearray()
        self._opcode: Opcode | None = None

    def feed(self, data: bytes) -> list[Message]:
        """Every message that *data* completes.

        Raises:
            ProtocolError: not WebSocket, or larger than allowed. The connection must end then.
        """
        self._buffer += data
        messages = []
        while (frame := self._next_frame()) is not None:
            message = self._take(*frame)
            if message is not None:
                messages.append(message)
        return messages

    def _next_frame(self) -> tuple[bool, Opcode, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x70:
            raise ProtocolError("reserved bits are set")
        if not second & 0x80:
            raise ProtocolError("a client's frame must be masked")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise ProtocolError("unknown kind of frame") from None
        length, position = second & 0x7F, 2
        if opcode >= _CONTROL and (length > _MAX_CONTROL_BYTES or not first & 0x80):
            raise ProtocolError("a control frame is too long or in pieces")
        if length > _MAX_CONTROL_BYTES:
            size = 2 if length == _MAX_CONTROL_BYTES + 1 else 8
            if len(buffer) < position + size:
                return None
            length = int.from_bytes(buffer[position : position + size])
            position += size
        if length > MAX_MESSAGE_BYTES:
            raise ProtocolError("the message is too large", 1009)
        if len(buffer) < position + 4 + length:
            return None
        mask = bytes(buffer[position : position + 4])
        payload = bytes(buffer[position + 4 : position + 4 + length])
        del buffer[: position + 4 + length]
        return bool(first & 0x80), opcode, unmask(payload, mask)

    def _take(self, final: bool, opcode: Opcode, data: bytes) -> Message | None:
        if opcode >= _CONTROL:
            return Message(opcode, data)
        if (opcode is Opcode.CONTINUATION) != (self._opcode is not None):
            raise ProtocolError("the pieces of a message are out of order")
        if len(self._parts) + len(data) > MAX_MESSAGE_BYTES:
            raise ProtocolError("the message is too large", 1009)
        if self._opcode is None:
            if final:
                return Message(opcode, data)
            self._opcode = opcode
        self._parts += data
        if not final:
            return None
        message = Message(self._opcode, bytes(self._parts))
        self._parts.clear()
        self._opcode = None
        return message


def unmask(data: bytes, mask: bytes) -> bytes:
    """*data* without *mask*, at the speed of one large XOR."""
    if not data:
        return data
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    value = int.from_bytes(data) ^ int.from_bytes(repeated)
    return value.to_bytes(len(data))
