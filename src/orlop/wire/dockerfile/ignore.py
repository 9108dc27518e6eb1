"""`.dockerignore`: which paths of a build context do not take part.

Patterns in order, the last that fits decides, `!` takes back; a pattern also fits what is below.
Source: the Dockerfile reference, ".dockerignore file"; moby/patternmatcher for the corner cases.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile.pattern import compile_pattern

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

MAX_BYTES = 1 << 20
MAX_PATTERNS = 2000
MAX_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class _Rule:
    expression: re.Pattern[str]
    included: bool


class IgnoreRules:
    """Patterns, ready to be asked."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Each pattern as a line of the file.

        Raises:
            InvalidArgument: one is wrong, or there are too many.
        """
        self._rules: list[_Rule] = []
        self._known: dict[str, int] = {}
        for line in patterns:
            rule = _parse(line)
            if rule is not None:
                self._rules.append(rule)
        if len(self._rules) > MAX_PATTERNS:
            raise InvalidArgument(f"more than {MAX_PATTERNS} patterns to ignore")

    def __bool__(self) -> bool:
        return bool(self._rules)

    def ignores(self, path: str) -> bool:
        """Whether *path*, relative and clean, does not take part."""
        matching = self._matching(path)
        # The last rule that fits decides.
        return bool(matching) and not self._rules[matching.bit_length() - 1].included

    def _matching(self, path: str) -> int:
        """Which rules fit *path* or a directory above it, a bit each."""
        end, matching = len(path), 0
        # Directories are remembered: begin below the nearest one that is known.
        while end > 0 and (known := self._known.get(path[:end])) is None:
            end = path.rfind("/", 0, end)
        if end > 0 and known is not None:
            matching = known
        while end < len(path):
            end = path.find("/", end + 1)
            end = len(path) if end < 0 else end
            matching = self._with_matches(path[:end], matching)
        return matching

    def _with_matches(self, path: str, matching: int) -> int:
        for index, rule in enumerate(self._rules):
            if not matching >> index & 1 and rule.expression.fullmatch(path):
                matching |= 1 << index
        if len(self._known) < MAX_REMEMBERED:
            self._known[path] = matching
        return matching


def _parse(line: str) -> _Rule | None:
    text = line.strip()
    if not text or line.startswith("#"):
        return None
    included = text.startswith("!")
    if included:
        text = text[1:].strip()
        if not text:
            raise InvalidArgument('illegal exclusion pattern: "!"')
    text = posixpath.normpath(text).lstrip("/")
    if text in ("", "."):
        return None
    return _Rule(compile_pattern(text, double_star=True), included)


def parse_ignore(data: bytes) -> IgnoreRules:
    """The rules in a `.dockerignore` file.

    Raises:
        InvalidArgument: see `IgnoreRules`; or the file is too large.
    """
    if len(data) > MAX_BYTES:
        raise InvalidArgument(f"the .dockerignore file is larger than {MAX_BYTES} bytes")
    text = data.decode(errors="replace").removeprefix("\ufeff")
    return IgnoreRules(text.splitlines())
