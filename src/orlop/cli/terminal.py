"""The terminal this command runs on: its size, and raw mode for `exec -t`."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

DEFAULT_COLUMNS = 80
DEFAULT_ROWS = 24


def size() -> tuple[int, int]:
    """Columns and rows of the terminal; 80 by 24 where there is none or it does not know."""
    for descriptor in (1, 0, 2):
        try:
            found = os.get_terminal_size(descriptor)
        except OSError:
            continue
        # A serial line says 0 by 0: nobody told it what is at the other end.
        if found.columns and found.lines:
            return found.columns, found.lines
    return DEFAULT_COLUMNS, DEFAULT_ROWS


def fitted(table: str) -> str:
    """*table* with lines cut to the terminal's width; as it is where there is no terminal."""
    if not sys.stdout.isatty():
        return table
    width = size()[0]
    return "\n".join(line[:width] for line in table.splitlines())


def has_colours() -> bool:
    """Is stdout a terminal that shows colours, to someone who wants them?"""
    return (
        sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") != "dumb"
        and "NO_COLOR" not in os.environ
    )


class RawTerminal:
    """Within, what is typed at *descriptor* comes byte by byte, unchanged; afterwards as before."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> None:
        import termios
        import tty

        self._before = termios.tcgetattr(self._descriptor)
        tty.setraw(self._descriptor)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        import termios

        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
