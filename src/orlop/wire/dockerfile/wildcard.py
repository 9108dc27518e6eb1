"""The shell's `*` and `?` in variable substitutions, without a regular expression.

A pattern comes from a stranger's Dockerfile and a value from his image: a backtracking matcher
would let them stop the engine. Here a state set moves over the value once, and a budget bounds
what all starts together may cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

STAR, ANY = "*", "?"
MAX_STEPS = 100_000


class Budget:
    """What is left of the work that one word may cost."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise InvalidArgument("the pattern in a substitution takes too long")


def parse(text: str) -> list[str]:
    """`STAR`, `ANY` or a literal of one character, which has a space before it.

    Raises:
        InvalidArgument: an escape of something that needs none.
    """
    tokens: list[str] = []
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if char in (STAR, ANY):
            # Two stars in a row say no more than one, and would cost.
            if char == ANY or tokens[-1:] != [STAR]:
                tokens.append(char)
            continue
        if char == "\\":
            escaped = text[position : position + 1]
            position += 1
            if not escaped or escaped not in "*?\\}/":
                raise InvalidArgument(
                    f"invalid pattern ({text[:200]}) in substitution: invalid escape '\\{escaped}'"
                )
            char = escaped
        tokens.append(f" {char}")
    return tokens


def match_prefix(pattern: list[str], value: str, budget: Budget, *, greedy: bool) -> int | None:
    """How much of the beginning of *value* the pattern takes, at least or at most."""
    found = None
    for end in _ends(pattern, value, 0, budget):
        found = end
        if not greedy:
            break
    return found


def replace(pattern: list[str], value: str, text: str, budget: Budget, *, every: bool) -> str:
    """*value* with the first, or every, longest match replaced by *text*."""
    parts: list[str] = []
    position = copied = 0
    while pattern and position < len(value):
        end = max(_ends(pattern, value, position, budget), default=position)
        if end == position:
            position += 1
            continue
        parts += [value[copied:position], text]
        position = copied = end
        if not every:
            break
    return "".join([*parts, value[copied:]])


def _ends(pattern: list[str], value: str, start: int, budget: Budget) -> Iterator[int]:
    """Where a match that begins at *start* may end, in rising order."""
    states = _closure(pattern, {0})
    if len(pattern) in states:
        yield start
    for position in range(start, len(value)):
        budget.spend(len(states))
        following: set[int] = set()
        for state in states:
            if state == len(pattern):
                continue
            if pattern[state] == STAR:
                following.add(state)
            elif pattern[state] in (ANY, f" {value[position]}"):
                following.add(state + 1)
        states = _closure(pattern, following)
        if not states:
            return
        if len(pattern) in states:
            yield position + 1


def _closure(pattern: list[str], states: set[int]) -> set[int]:
    """With what a star that takes nothing leads to."""
    result = set(states)
    for state in states:
        # No two stars follow each other.
        if state < len(pattern) and pattern[state] == STAR:
            result.add(state + 1)
    return result
