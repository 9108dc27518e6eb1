"""Downloads of blobs that go on where they were cut. Worker only."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Protocol

from orlop.engine.registry.http import TransportError
from orlop.engine.registry.session import RETRY_DELAYS_S
from orlop.lib.errors import OrlopError, Unavailable
from orlop.wire.registry.headers import parse_content_range

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from orlop.engine.registry.http import Response
    from orlop.wire.registry.manifest import Descriptor

READ_BYTES = 1 << 20

MAX_CUTS = 50
"""How often a download may go on after it was cut, if it got somewhere each time."""


class Asking(Protocol):
    """What a download takes of a `Session`."""

    def url(self, path: str) -> str: ...

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        ok: Collection[int] = (200,),
        on_wait: Callable[[float], None] = lambda _: None,
    ) -> Response: ...


class Download:
    """One blob into *sink*, piece by piece and in order, from *offset* on."""

    def __init__(
        self,
        session: Asking,
        blob: Descriptor,
        sink: Callable[[memoryview], None],
        *,
        offset: int = 0,
        on_bytes: Callable[[int], None] = lambda _: None,
        on_wait: Callable[[float], None] = lambda _: None,
        piece_s: float = math.inf,
    ) -> None:
        """*on_bytes* is told how many bytes there are, *on_wait* how long is waited. A piece of
        `READ_BYTES` may take *piece_s*."""
        self._session = session
        self._blob = blob
        self._sink = sink
        self._on_bytes = on_bytes
        self._on_wait = on_wait
        self._offset = offset
        self._piece_s = piece_s
        self.resumed = False

    def run(self) -> None:
        """Raises: OrlopError: it cannot be had whole."""
        delays = iter(RETRY_DELAYS_S)
        for _ in range(MAX_CUTS):
            before = self._offset
            try:
                self._receive(self._open())
                return
            except TransportError:
                if self._offset > before:
                    delays = iter(RETRY_DELAYS_S)
                delay = next(delays, None)
                if delay is None:
                    raise
            self._on_wait(delay)
            time.sleep(delay)
        raise OrlopError(f"the download of {self._blob.digest} was cut too often")

    def _open(self) -> Response:
        headers = {"Range": f"bytes={self._offset}-"} if self._offset else {}
        self.resumed |= self._offset > 0
        return self._session.call(
            "GET",
            self._session.url(f"/blobs/{self._blob.digest}"),
            headers=headers,
            ok=(200, 206) if self._offset else (200,),
            on_wait=self._on_wait,
        )

    def _receive(self, response: Response) -> None:
        skip = self._skip(response)
        # A piece is handed on and may be held by others for a while: a new buffer for each.
        while True:
            buffer = memoryview(bytearray(READ_BYTES))
            until_s = time.monotonic() + self._piece_s
            count = _fill(response, buffer, until_s)
            if not count:
                break
            piece = buffer[:count]
            if skip:
                piece, skip = piece[skip:], max(0, skip - count)
            if self._offset + len(piece) > self._blob.size:
                response.close()
                raise OrlopError(
                    f"the registry sends more than the {self._blob.size} bytes of "
                    f"{self._blob.digest}"
                )
            if piece:
                self._sink(piece)
                self._offset += len(piece)
                self._on_bytes(self._offset)
            if self._offset < self._blob.size and time.monotonic() > until_s:
                response.close()
                raise Unavailable(
                    f"the server sends less than {READ_BYTES / self._piece_s:,.0f} bytes a second"
                )
        if self._offset < self._blob.size:
            raise TransportError(f"{self._blob.digest}: unexpected EOF")

    def _skip(self, response: Response) -> int:
        """How much of the answer we have already: all of it if ranges are not understood."""
        if response.status != 206:
            return self._offset
        found = parse_content_range(response.header("Content-Range"))
        if found is None or found[0] > self._offset:
            response.close()
            raise OrlopError(f"the registry sends another part of {self._blob.digest} than asked")
        return self._offset - found[0]


def _fill(response: Response, buffer: memoryview, until_s: float) -> int:
    """As much as fits; less only at the end, or *until_s*. What came before a cut is not lost with
    it."""
    at = 0
    while at < len(buffer) and (not at or time.monotonic() <= until_s):
        try:
            count = response.read_into(buffer[at:])
        except TransportError:
            if at:
                return at
            raise
        if not count:
            break
        at += count
    return at
