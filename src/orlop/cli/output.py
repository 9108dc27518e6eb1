"""A container's two outputs, taken apart again: to this process's stdout and stderr."""

from __future__ import annotations

from orlop.cli.relay import write_all
from orlop.wire.stdcopy_frames import STDERR, STDOUT, take


class Demultiplexer:
    """Takes the framed stream as it comes and writes each payload where it belongs, unbuffered."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Write what *data* completes.

        Raises:
            InvalidArgument: it is not the framing of the engine.
        """
        self._buffer += data
        for stream, payload in take(self._buffer):
            write_all(STDOUT if stream == STDOUT else STDERR, payload)
