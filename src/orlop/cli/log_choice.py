"""Which lines of a log are wanted: by time, text, gravity, and who wrote them."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from orlop.cli.answers import Object
    from orlop.cli.arguments import Arguments


class Choice:
    """What of a log is wanted; nothing that is left empty leaves anything out."""

    __slots__ = ("_pattern", "level", "names", "since_s", "until_s")

    def __init__(
        self,
        *,
        since_s: float | None = None,
        until_s: float | None = None,
        grep: str = "",
        level: int | None = None,
        names: Collection[str] = (),
    ) -> None:
        self.since_s = since_s
        self.until_s = until_s
        self.level = level
        self.names = names
        self._pattern = _Pattern(grep) if grep else None

    @property
    def is_all(self) -> bool:
        """Is nothing left out but by a time to begin with?"""
        return self.until_s is None and self._pattern is None and self.level is None

    @property
    def is_everything(self) -> bool:
        """Is nothing left out at all?"""
        return self.is_all and self.since_s is None and not self.names

    def wants(self, text: str, moment_s: float | None) -> bool:
        """Whether a line of a container, written at *moment_s*, is one of those."""
        if moment_s is not None:
            if self.since_s is not None and moment_s < self.since_s:
                return False
            if self.until_s is not None and moment_s > self.until_s:
                return False
        return self._pattern is None or self._pattern(text)

    def wants_entry(self, entry: Object | None, line: str) -> bool:
        """Whether a line of the system's log, parsed to *entry*, is one of those."""
        if entry is None:
            return self.level is None and not self.names and self.wants(line, None)
        if self.level is not None and int(str(entry["level"])) > self.level:
            return False
        if self.names and str(entry["container"] or entry["program"]) not in self.names:
            return False
        if self.since_s is None and self.until_s is None:
            return self.wants(str(entry["message"]), None)
        from orlop.cli.text import parse_time

        return self.wants(str(entry["message"]), parse_time(str(entry["time"])))


class _Pattern:
    def __init__(self, text: str) -> None:
        import re

        from orlop.cli.arguments import UsageError

        try:
            self._search = re.compile(text).search
        except re.error as error:
            raise UsageError(f"--grep: {text!r} is no regular expression: {error}") from None

    def __call__(self, text: str) -> bool:
        return self._search(text) is not None


def choice_of(arguments: Arguments, *, with_names: bool = False) -> Choice:
    """What the command line of `orlop logs` asks for.

    Raises:
        UsageError: a value is none.
    """
    since_s = until_s = level = None
    if arguments.flag("boot"):
        since_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    if arguments.flag("since") or arguments.flag("until"):
        from orlop.cli.moment import parse_moment

        if arguments.flag("since"):
            since_s = parse_moment(arguments.value("since"))
        if arguments.flag("until"):
            until_s = parse_moment(arguments.value("until"))
    if arguments.flag("priority"):
        from orlop.cli.log_lines import level_number

        level = level_number(arguments.value("priority"))
    return Choice(
        since_s=since_s,
        until_s=until_s,
        grep=arguments.value("grep"),
        level=level,
        names=frozenset(arguments.words if with_names else ()),
    )
