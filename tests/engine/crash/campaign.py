"""All trials of one operation. After one that fails there is another engine: the rest is tried."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import shutil
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from tests.engine.crash.crash_engine import CrashEngine, forget_networks
from tests.engine.crash.trial import Figures, Trial
from tests.engine.store.archives import busybox_layer, docker_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.engine.crash.crash_engine import Point
    from tests.engine.crash.operations import Operation

type Attempt = tuple[str, Callable[[Trial], None]]

ERRORS = (errno.ENOSPC, errno.EIO)
NEVER_FAIL = ("umount2", "ended")
"""Nobody can do anything about the one, and the other is no call."""


@contextlib.contextmanager
def engine(images: Path, registry: str) -> Iterator[CrashEngine]:
    """An engine with crash points, the image `busybox`, and a container that goes on."""
    directory = Path(tempfile.mkdtemp(prefix="ce-"))
    process = CrashEngine(directory, images, registry)
    try:
        forget_networks()
        process.start()
        process.load(docker_archive([busybox_layer()], ["busybox:latest"]))
        process.start_witness()
        yield process
    finally:
        process.stop()
        shutil.rmtree(directory, ignore_errors=True)


def kills(points: Sequence[Point]) -> list[Attempt]:
    """The engine dies at each point. Every second time its data are repaired before it starts."""
    return [
        (f"engine killed at {point}", functools.partial(Trial.kill_engine, point=point, repair=odd))
        for number, point in enumerate(points)
        for odd in [number % 2 == 1]
    ]


def worker_kills(points: Sequence[Point]) -> list[Attempt]:
    """A worker dies at each of its points."""
    return [
        (f"worker killed at {point}", functools.partial(Trial.kill_worker, point=point))
        for point in points
        if point.process != "engine"
    ]


def failures(points: Sequence[Point]) -> list[Attempt]:
    """The call of each point fails: the disk is full, or broken."""
    return [
        (
            f"{errno.errorcode[number]} at {point}",
            functools.partial(Trial.fail, point=point, number=number),
        )
        for point in points
        if point.call not in NEVER_FAIL
        for number in ERRORS
    ]


def power_cuts(points: Sequence[Point]) -> list[Attempt]:
    """The power fails with the answer, and after each sync, before what follows."""
    after = [
        later
        for earlier, later in itertools.pairwise(points)
        if earlier.call in ("fsync", "fdatasync")
    ]
    return [
        (f"power cut at {point or 'the answer'}", functools.partial(Trial.cut_power, point=point))
        for point in (None, *after)
    ]


class Campaign:
    """See the module. *problems* says what was not as it should be."""

    def __init__(
        self, images: Path, registry: str, operation: Operation, report: Callable[[str], None]
    ) -> None:
        """*report* is told what is tried."""
        self.figures = Figures()
        self.problems: list[str] = []
        self._images, self._registry = images, registry
        self._operation = operation
        self._report = report

    def run(self, choose: Callable[[Sequence[Point]], list[Attempt]]) -> None:
        """Find the points, and try what *choose* makes of them."""
        with engine(self._images, self._registry) as first:
            trial = Trial(first, self._operation, self.figures)
            points = trial.find_points()
            self.figures.counts["points"] += len(points)
            waiting = self._try(trial, choose(points))
        while waiting:
            with engine(self._images, self._registry) as another:
                waiting = self._try(Trial(another, self._operation, self.figures), waiting)

    def _try(self, trial: Trial, attempts: list[Attempt]) -> list[Attempt]:
        """Make the *attempts*, up to one that fails; those that are left."""
        for number, (name, attempt) in enumerate(attempts):
            self._report(f"{self._operation}: {name}")
            try:
                attempt(trial)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others are tried
                self.figures.add("inconsistent")
                frames = traceback.extract_tb(error.__traceback__)
                lines = [frame.lineno for frame in frames if frame.filename.endswith("trial.py")]
                problem = f"{name}: {error!r} (trial.py: {lines})"
                self._report(f"  inconsistent: {problem}")
                self.problems.append(problem[:3000])
                return attempts[number + 1 :]
        return []
