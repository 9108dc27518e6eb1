"""Path patterns: those of COPY's sources, Go's `filepath.Match`, and those of `.dockerignore`.

Both become one regular expression without nested repetition: `[^/]*` and `.*` between literals.
They are used in a worker process only, which has a limit on its time: Python's matcher backtracks.
"""

from __future__ import annotations

import re

from orlop.lib.errors import InvalidArgument

MAX_CHARACTERS = 4096
MAX_STARS = 16
"""More in one pattern would make matching slow, and says nothing that fewer do not."""


def has_wildcards(path: str) -> bool:
    """Whether *path* is a pattern: it has `*`, `?` or `[` that is not escaped."""
    position = 0
    while position < len(path):
        if path[position] == "\\":
            position += 1
        elif path[position] in "*?[":
            return True
        position += 1
    return False


def compile_pattern(pattern: str, *, double_star: bool = False) -> re.Pattern[str]:
    """For `fullmatch` on a path without a leading slash; *double_star*: `**` crosses directories.

    Raises:
        InvalidArgument: an open bracket, an escape at the end, or too long.
    """
    if len(pattern) > MAX_CHARACTERS or pattern.count("*") > MAX_STARS:
        raise InvalidArgument(f"the pattern {pattern[:80]!r} is too long")
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        text, position = _piece(pattern, position, double_star=double_star)
        parts.append(text)
    return re.compile("".join(parts), re.DOTALL)


def _piece(pattern: str, position: int, *, double_star: bool) -> tuple[str, int]:
    """The expression for what begins at *position*, and where it ends."""
    char = pattern[position]
    if double_star and pattern.startswith("**", position):
        end = position + 2
        if pattern.startswith("/", end):
            # `**/x` is also x itself.
            return "(?:.*/)?", end + 1
        return ".*", end
    if char == "*":
        return "[^/]*", position + 1
    if char == "?":
        return "[^/]", position + 1
    if char == "[":
        return _bracket(pattern, position)
    if char == "\\":
        if position + 1 == len(pattern):
            raise InvalidArgument(f"syntax error in pattern: {pattern[:80]!r}")
        return re.escape(pattern[position + 1]), position + 2
    return re.escape(char), position + 1


def _bracket(pattern: str, start: int) -> tuple[str, int]:
    position = start + 1
    negated = pattern.startswith("^", position)
    position += negated
    body: list[str] = []
    while position < len(pattern) and (pattern[position] != "]" or not body):
        low, position = _member(pattern, position)
        high = low
        if pattern.startswith("-", position) and not pattern.startswith("-]", position):
            high, position = _member(pattern, position + 1)
        if low > high:
            raise InvalidArgument(f"syntax error in pattern: {pattern[:80]!r}")
        body.append(f"{re.escape(low)}-{re.escape(high)}")
    if position >= len(pattern):
        raise InvalidArgument(f"syntax error in pattern: {pattern[:80]!r}")
    inside = "".join(body)
    return (f"[^/{inside}]" if negated else f"(?!/)[{inside}]"), position + 1


def _member(pattern: str, position: int) -> tuple[str, int]:
    if pattern.startswith("\\", position):
        position += 1
    if position >= len(pattern):
        raise InvalidArgument(f"syntax error in pattern: {pattern[:80]!r}")
    return pattern[position], position + 1
