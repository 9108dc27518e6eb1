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
        names = path.split("/")
        paths = ["/".join(names[:count]) for count in range(1, len(names) + 1)]
        ignored = False
        for rule in self._rules:
            # A rule that would change nothing need not be tried.
            if rule.included == ignored and any(rule.expression.fullmatch(p) for p in paths):
                ignored = not rule.included
        return ignored


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
