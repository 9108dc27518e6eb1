"""Inputs made from seeds by small changes, the same ones for the same number.

No coverage guides it: parsers of this size are reached well by splicing seeds and by tokens of
their language. A failing input is shown as it is, ready to become a test.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_INPUT_BYTES = 4096
MAX_CHANGES = 6
_INTERESTING = (0, 1, 9, 10, 13, 32, 34, 58, 127, 128, 255)


class Target(Protocol):
    """A module of this package."""

    SEEDS: Sequence[bytes]
    TOKENS: Sequence[bytes]

    def check(self, data: bytes) -> None:
        """Raises for an input that breaks the invariant."""


def inputs(seeds: Sequence[bytes], tokens: Sequence[bytes], number: int) -> Iterator[bytes]:
    """The seeds, then changed ones without end."""
    yield from seeds
    source = random.Random(number)
    while True:
        data = bytearray(source.choice(seeds))
        for _ in range(source.randint(1, MAX_CHANGES)):
            _change(data, seeds, tokens, source)
        yield bytes(data[:MAX_INPUT_BYTES])


def _change(
    data: bytearray, seeds: Sequence[bytes], tokens: Sequence[bytes], source: random.Random
) -> None:
    at = source.randint(0, len(data))
    end = min(at + source.randint(1, 16), len(data))
    match source.randrange(7):
        case 0 if at < len(data):
            data[at] ^= 1 << source.randrange(8)
        case 1 if at < len(data):
            data[at] = source.choice(_INTERESTING)
        case 2:
            del data[at:end]
        case 3:
            data[at:at] = data[at:end] * source.randint(1, 8)
        case 4:
            other = source.choice(seeds)
            data[at:] = other[source.randint(0, len(other)) :]
        case 5 if tokens:
            data[at:at] = source.choice(tokens)
        case _:
            data[at:at] = source.randbytes(source.randint(1, 4))


def run(target: Target, number: int, *, executions: int = 0, seconds: float = 0) -> int:
    """Check many inputs, so many or so long; how many they were.

    Raises:
        AssertionError: with the input for which the invariant does not hold.
    """
    done = 0
    deadline_s = time.monotonic() + seconds
    for data in inputs(target.SEEDS, target.TOKENS, number):
        if done >= executions and time.monotonic() >= deadline_s:
            break
        try:
            target.check(data)
        except Exception as error:
            raise AssertionError(f"{target}: {type(error).__name__}: {error}\n{data!r}") from error
        done += 1
    return done
