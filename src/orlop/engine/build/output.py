"""What a build says while it runs, in the classic builder's words and as its JSON lines."""

from __future__ import annotations

import codecs
import json
from collections import deque
from typing import TYPE_CHECKING, Protocol

from orlop.wire.stdcopy import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json

MAX_QUIET_BYTES = 1 << 20
"""Of the output of a quiet build that is kept in case it fails; the end of it counts."""

RED, PLAIN = "\x1b[91m", "\x1b[0m"


class Sink(Protocol):
    """Where the lines go: a response's body."""

    async def write(self, data: bytes) -> None: ...


def short_id(image_id: str) -> str:
    """Twelve digits, as people see ids."""
    return image_id.removeprefix("sha256:")[:12]


def encode_line(message: Mapping[str, Json]) -> bytes:
    """One message as dockerd writes it."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=True).encode() + b"\r\n"


class BuildFailed(Exception):
    """A command ended badly: dockerd gives its exit code to the client along with the text."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Output:
    """One build's. With *quiet* nothing goes out but errors and the result."""

    def __init__(self, sink: Sink, *, quiet: bool) -> None:
        self._sink = sink
        self._quiet = quiet
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._decoders = {
            stream: codecs.getincrementaldecoder("utf-8")("replace")
            for stream in (Stream.STDOUT, Stream.STDERR)
        }

    async def message(self, message: Mapping[str, Json]) -> None:
        """Any message, such as the progress of a pull."""
        data = encode_line(message)
        if self._quiet:
            self._kept.append(data)
            self._kept_bytes += len(data)
            while self._kept_bytes > MAX_QUIET_BYTES:
                self._kept_bytes -= len(self._kept.popleft())
            return
        await self._sink.write(data)

    async def text(self, text: str) -> None:
        await self.message({"stream": text})

    async def produced(self, stream: Stream, data: bytes) -> None:
        """What a command wrote, whose characters may be cut anywhere."""
        text = self._decoders[stream].decode(data)
        if text:
            await self.text(f"{RED}{text}{PLAIN}" if stream is Stream.STDERR else text)

    async def aux(self, image_id: str) -> None:
        await self.message({"aux": {"ID": image_id}})

    async def result(self, image_id: str) -> None:
        """For a quiet build: the one thing it says."""
        if self._quiet:
            await self._sink.write(encode_line({"stream": f"{image_id}\n"}))

    async def error(self, text: str, code: int = 0) -> None:
        """The build failed; what was kept back comes first."""
        for data in self._kept:
            await self._sink.write(data)
        detail: dict[str, Json] = {"code": code, "message": text} if code else {"message": text}
        await self._sink.write(encode_line({"errorDetail": detail, "error": text}))
