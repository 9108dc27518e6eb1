"""A container's two outputs, taken apart again: to this process's stdout and stderr."""

from __future__ import annotations

from orlop.cli.relay import write_all
from orlop.wire.stdcopy import Decoder, Stream

_STDOUT = 1
_STDERR = 2


class Demultiplexer:
    """Takes the framed stream as it comes and writes each payload where it belongs, unbuffered."""

    def __init__(self) -> None:
        self._decoder = Decoder()

    def feed(self, data: bytes) -> None:
        """Write what *data* completes.

        Raises:
            InvalidArgument: it is not the framing of the engine.
        """
        for frame in self._decoder.feed(data):
            write_all(_STDOUT if frame.stream is Stream.STDOUT else _STDERR, frame.data)
