"""The messages that pull, push, load, import and build answer with, drawn as docker does.

On a terminal each id has a line of its own that is drawn again; elsewhere every message is a line
and bars are left out. A message `{"error": ...}` ends the stream.
"""

from __future__ import annotations

import os

from orlop.cli.docker import human
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.session import lines_of
from orlop.cli.json_text import decode
from orlop.cli.relay import write_all
from orlop.lib.errors import Internal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.cli.client import Response
    from orlop.cli.docker.session import Object

BAR = 50
BAR_COLUMNS = 110
"""On a terminal narrower than this there is no room for bars."""
NUMBERS_WIDTH = 8


def show(
    response: Response,
    descriptor: int = 1,
    on_aux: Callable[[Object], None] | None = None,
    capture: list[str] | None = None,
    *,
    with_code: bool = False,
) -> None:
    """Draw the messages of *response* on *descriptor* as they come.

    *on_aux* gets what is for programs; with *capture* the text is collected there instead; with
    *with_code* the engine's code for a failure is the exit status.

    Raises:
        Failure: the engine says that it has failed.
    """
    screen = Screen(descriptor, is_terminal=os.isatty(descriptor))
    for line in lines_of(response):
        try:
            message = decode(line)
        except ValueError as error:
            raise Internal(f"the engine's answer is not JSON: {error}") from None
        if not isinstance(message, dict):
            continue
        if message.get("aux") is not None:
            if on_aux is not None:
                on_aux(message)
            continue
        text = screen.text_of(message)
        if capture is None:
            write_all(descriptor, text.encode())
        else:
            capture.append(text)
        error_detail = message.get("errorDetail") or message.get("error")
        if error_detail:
            raise _failure(error_detail, with_code=with_code)


def _failure(detail: object, *, with_code: bool) -> Failure:
    if not isinstance(detail, dict):
        return Failure(str(detail))
    if detail.get("code") == 401:
        return Failure("authentication is required")
    code = detail.get("code")
    status = code if with_code and isinstance(code, int) and code else 1
    return Failure(str(detail.get("message", "")), status)


class Screen:
    """Which line of the terminal belongs to which id."""

    def __init__(self, descriptor: int, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        self._lines: dict[str, int] = {}

    def text_of(self, message: Object) -> str:
        """What to write for *message*."""
        identifier = str(message.get("id") or "")
        detail = message.get("progressDetail")
        progress = detail if isinstance(detail, dict) else None
        if not identifier or progress is None:
            # What has no line of its own ends the block of those that have.
            self._lines.clear()
            return self._drawn(message, identifier, progress)
        before = ""
        line = self._lines.get(identifier)
        if line is None:
            line = self._lines[identifier] = len(self._lines)
            before = "\n"
        if not self._is_terminal:
            return self._drawn(message, identifier, progress)
        up = len(self._lines) - line
        return f"{before}\x1b[{up}A{self._drawn(message, identifier, progress)}\x1b[{up}B"

    def _drawn(self, message: Object, identifier: str, progress: Object | None) -> str:
        if message.get("errorDetail") or message.get("error"):
            return ""
        stream = str(message.get("stream") or "")
        bar = _bar(progress) if progress else ""
        start = end = ""
        if self._is_terminal and not stream and progress is not None:
            start, end = "\x1b[2K\r", "\r"
        elif bar:
            return ""
        if identifier:
            start += f"{identifier}: "
        if message.get("from"):
            start += f"(from {message['from']}) "
        status = str(message.get("status") or "")
        if progress is not None and self._is_terminal:
            return f"{start}{status} {bar}{end}"
        if stream:
            return f"{start}{stream}{end}"
        return f"{start}{status}{end}\n"


def _bar(progress: Object) -> str:
    current, total = _number(progress, "current"), _number(progress, "total")
    if current <= 0 and total <= 0:
        return ""
    unit = str(progress.get("units") or "")
    if total <= 0:
        return f"{current} {unit}" if unit else human.decimal_size(current).rjust(NUMBERS_WIDTH)
    half = min(int(current / total * 100) // 2, BAR)
    bar = f"[{'=' * half}>{' ' * (BAR - half)}] " if _columns() > BAR_COLUMNS else ""
    if progress.get("hidecounts"):
        return bar
    if unit:
        return bar + (f"{current}/{total} {unit}" if current <= total else f"{current} {unit}")
    numbers = human.decimal_size(current).rjust(NUMBERS_WIDTH)
    return bar + (f"{numbers}/{human.decimal_size(total)}" if current <= total else numbers)


def _columns() -> int:
    """How wide the terminal is; wide enough for all where there is none."""
    try:
        return os.get_terminal_size(1).columns
    except OSError:
        return 2 * BAR_COLUMNS


def _number(value: Object, key: str) -> int:
    found = value.get(key)
    return int(found) if isinstance(found, int | float) else 0
