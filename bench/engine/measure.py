"""What rows are made of: figures, amounts, and time limits that end whatever hangs."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.engine.contestants import Contestant

IMAGE = "busybox:latest"
TRUE = ["/bin/true"]
SLEEP = ["/bin/sleep", "100000"]

FAILED = float("nan")
"""The value of what a side did not finish."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much of everything.

    runs: of short measurements. rounds: of long ones. seconds: for each rate.
    megabytes: of output; large_megabytes: of the large image.
    """

    runs: int
    rounds: int
    sleepers: tuple[int, ...]
    seconds: float
    megabytes: int
    large_megabytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: *figure* is what is measured, in *unit*."""

    side: str
    figure: str
    value: float
    unit: str = "ms"


type Steps = Iterator[list[Sample]]
"""A side's part of a row, step by step."""


@dataclass(frozen=True, slots=True)
class Row:
    """*on* measures one side; a side that takes longer than *limit_s* for all of it is out.

    prepare: what all sides need, given the benchmark's folder. in_turn: sides take turns after
    each step; else one is done before the next begins.
    """

    on: Callable[[Contestant, Options], Steps]
    limit_s: float
    has_floor: bool = False
    prepare: Callable[[Path, Options], None] | None = None
    in_turn: bool = True


class TookTooLong(Exception):
    """A step went on beyond its limit."""


@contextlib.contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise in the middle of whatever the main thread does after *seconds*."""

    def expired(_number: int, _frame: object) -> None:
        raise TookTooLong(f"not finished after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def time_ms[**P](work: Callable[P, object], *arguments: P.args, **named: P.kwargs) -> float:
    """How long *work* takes."""
    started_s = time.perf_counter()
    work(*arguments, **named)
    return (time.perf_counter() - started_s) * 1000
