"""One operation with one point: kill, start, look, repeat, use, undo, compare."""

from __future__ import annotations

import http.client
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.engine.crash.disk import Cut, Disk
from tests.engine.crash.operations import Answer

if TYPE_CHECKING:
    from tests.engine.crash.crash_engine import CrashEngine, Point
    from tests.engine.crash.operations import Operation

QUIET_S = 0.3
"""Without a new point for so long, the operation is over, with what it does after its answer."""

MISSED_S = 3.0
"""After the answer, a point that was there in the first pass comes until then, or not this time."""

DELETING = (
    *("engine/removal.py", "store/removal.py", "runtime/crun.py", "runtime/confinement.py"),
    "/trash/",
)
"""In the names of points that delete what is in nobody's way: if they fail, the next start does."""

MANY = 3
"""Of the writes of one place, so many are tried, and the last."""


@dataclass
class Figures:
    """What a run of the harness has done."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, what: str) -> None:
        self.counts[what] += 1


class Trial:
    """Trials of one operation with one engine."""

    def __init__(self, engine: CrashEngine, operation: Operation, figures: Figures) -> None:
        self.engine = engine
        self.operation = operation
        self.figures = figures
        operation.undo(engine)
        operation.prepare(engine)
        operation.act(engine)
        operation.undo(engine)
        self.settle()
        self.reference = engine.leftovers()

    def settle(self) -> None:
        """Wait until nothing is being thrown away any more."""
        data, run = self.engine.directory / "data", self.engine.directory / "run"
        places = (data / "trash", run / "trash", data / "store/trash", data / "store/staging")
        self.engine.wait_until(lambda: not any(os.listdir(p) for p in places if p.exists()))

    def find_points(self) -> list[Point]:
        """All points of the operation, in the order of a run in which nothing happens."""
        engine, control = self.engine, self.engine.control
        self.operation.prepare(engine)
        control.arm([engine.witness_id], "record")
        answer = self.operation.act(engine)
        assert answer.ok, answer
        seen, quiet_since_s = 0, time.monotonic()
        while time.monotonic() - quiet_since_s < QUIET_S:
            time.sleep(0.02)
            found = len(control.points())
            if found != seen:
                seen, quiet_since_s = found, time.monotonic()
        control.disarm()
        points = control.points()
        self.operation.use(engine)
        self.clean_up()
        last = {point.name: point.number for point in points}
        return [
            point
            for point in points
            if point.call not in ("write", "pwrite", "writev")
            or point.number <= MANY
            or point.number == last[point.name]
        ]

    # Kinds of trials.

    def kill_engine(self, point: Point, *, repair: bool) -> None:
        """The engine dies at *point*, and the next one has to make the best of it."""
        answer = self._act(point, "engine")
        self._wait_dead(answer)
        self.figures.add("kills of the engine")
        assert self.engine.problems() == [], self.engine.problems()
        if repair:
            assert self.engine.findings(repair=True) == []
        self.engine.start()
        self._judge(answer)

    def kill_worker(self, point: Point) -> None:
        """The worker dies at *point*; the engine goes on."""
        before = self.engine.descriptors()
        answer = self._act(point, "process")
        assert answer is not None, "no answer"
        assert self.engine.is_running(), "the engine has ended"
        self.figures.add("kills of a worker")
        self._judge(answer if answer.ok else None)
        self._check_descriptors(before)

    def fail(self, point: Point, number: int) -> None:
        """The call at *point* fails with errno *number*; the engine goes on."""
        before = self.engine.descriptors()
        answer = self._act(point, "process", errno=number)
        assert answer is not None, "no answer"
        assert self.engine.is_running(), "the engine has ended"
        self.figures.add("injected errors")
        if not answer.ok:
            self.figures.add("injected errors that were answered")
            assert os.strerror(number).lower() in answer.text.lower(), answer
        if any(word in point.name for word in DELETING):
            self.engine.kill()
            self.engine.start()
            before += 1  # the container that goes on is not its child any more, and watched so
        self._judge(answer if answer.ok else None, failed=True)
        self._check_descriptors(before)

    def cut_power(self, point: Point | None) -> None:
        """The power fails at *point*, or with the answer: every state the disk may be in then."""
        engine = self.engine
        data = engine.directory / "data"
        targets = {kind: engine.directory / f"data.{kind}" for kind in Cut}
        self.operation.prepare(engine)
        disk = Disk(data, engine.directory / "spare")
        try:
            if point is not None:
                answer = self._act(point, "engine", keep_synced=True)
                self._wait_dead(answer)
            else:
                engine.control.arm([engine.witness_id], "record", keep_synced=True)
                answer = self.operation.act(engine)
                engine.kill()
                engine.control.disarm()
            disk.cut(engine.control.lines(), engine.control.directory, targets)
        finally:
            disk.close()
        for kind, state in targets.items():
            self.figures.add("power cuts")
            engine.cut_power()
            shutil.rmtree(data)
            state.rename(data)
            try:
                assert engine.problems() == [], engine.problems()
                engine.start()
                engine.start_witness()
                self._judge(answer if self.operation.durable else None)
            except AssertionError as error:
                raise AssertionError(f"with {kind} on the disk: {error}") from error

    def _act(self, point: Point, do: str, **more: int) -> Answer | None:
        """The operation with *point* armed; None if there was no answer."""
        engine = self.engine
        if not more.get("keep_synced"):
            self.operation.prepare(engine)
        engine.control.arm([engine.witness_id], do, point, **more)
        answer: Answer | None = None
        try:
            answer = self.operation.act(engine)
        except (OSError, http.client.HTTPException, ValueError):
            answer = None
        deadline_s = time.monotonic() + MISSED_S
        while not engine.control.fired and time.monotonic() < deadline_s:
            time.sleep(0.01)
        if not engine.control.disarm():
            self.figures.add("points that did not come again")
        return answer

    def _wait_dead(self, answer: Answer | None) -> None:
        if not self.engine.control.fired:
            self.engine.kill()
        self.engine.wait_until(lambda: not self.engine.is_running())
        if answer is not None and answer.ok:
            self.figures.add("kills after the answer")

    # What must hold afterwards.

    def _judge(self, answer: Answer | None, *, failed: bool = False) -> None:
        """*answer* None: nothing was promised, and nothing may be half there."""
        engine, operation = self.engine, self.operation
        engine.check_lists(failed=failed)
        engine.check_witness()
        done = operation.done(engine)
        if answer is not None and answer.ok:
            assert done, f"what was answered for is lost: {answer}"
        if not done:
            again = operation.act(engine)
            assert again.ok, f"repeated: {again}"
            assert operation.done(engine), "repeated, without effect"
        operation.use(engine)
        self.clean_up()
        # The engine may be in the middle of a write of the log.
        engine.wait_until(lambda: engine.findings() == [], 10)

    def clean_up(self) -> None:
        """Undo it, and wait until there is what there was."""
        self.operation.undo(self.engine)
        self.settle()
        try:
            self.engine.wait_until(lambda: self.engine.leftovers() == self.reference, 10)
        except AssertionError:
            found = self.engine.leftovers()
            left, lost = found - self.reference, self.reference - found
            raise AssertionError(f"left: {sorted(left)}, lost: {sorted(lost)}") from None

    def _check_descriptors(self, before: int) -> None:
        try:
            self.engine.wait_until(lambda: self.engine.descriptors() <= before, 10)
        except AssertionError:
            directory = f"/proc/{self.engine.pid}/fd"
            found = [os.readlink(f"{directory}/{name}") for name in os.listdir(directory)]
            raise AssertionError(f"more than {before} descriptors: {sorted(found)}") from None
