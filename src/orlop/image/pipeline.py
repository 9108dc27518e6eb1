"""Run the steps of a build: cached by content, in parallel, cancellable, replayable.

A step whose result is in the cache is not run, and what only it needed is not even looked at.
When a step fails, the others that are already running go on to their end (a compiled kernel stays
compiled), nothing new is started, and all failures are reported together.
"""

import os
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

from orlop.image.progress import Display
from orlop.image.step import (
    LOG_TAIL_LINES,
    Cancellation,
    Inputs,
    Step,
    StepContext,
    StepFailed,
)
from orlop.image.step_key import check_steps, dependency_order, step_key
from orlop.image.store import Session
from orlop.lib.errors import Cancelled, Internal, InvalidArgument, OrlopError
from orlop.lib.process import pasteable

__all__ = ["BuildFailed", "Inputs", "Settings", "Step", "StepContext", "StepFailed", "run_steps"]

MAX_PARALLEL_STEPS = 8
WAIT_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """How to build, as opposed to what: none of it changes a result but *epoch* and *tools*."""

    session: Session
    display: Display
    epoch: int
    tools: Mapping[str, str] = field(default_factory=dict)
    jobs: int = field(default_factory=lambda: os.cpu_count() or 1)


class BuildFailed(OrlopError):
    """One or more steps failed; `failures` has them in the order in which they happened."""

    def __init__(self, failures: Sequence[StepFailed]) -> None:
        super().__init__("; ".join(str(failure) for failure in failures))
        self.failures = tuple(failures)


def run_steps(steps: Sequence[Step], targets: Sequence[str], settings: Settings) -> dict[str, Path]:
    """Bring the *targets* up to date and return the result directory of each step looked at.

    Raises:
        BuildFailed: steps failed.
        InvalidArgument: the steps do not fit together, or an input is missing.
        KeyboardInterrupt: passed on, after everything running has ended.
    """
    by_name = check_steps(steps, settings.tools)
    with settings.session.store.in_use():
        keys = _known_keys(by_name, settings)
        results, missing = _plan(by_name, targets, keys, settings)
        if results:
            settings.display.say(f"cached: {', '.join(sorted(results))}")
        if missing:
            _Build(by_name, results, keys, settings).run(missing)
    return results


def _known_keys(by_name: Mapping[str, Step], settings: Settings) -> dict[str, str]:
    """The keys that can be computed now: of steps whose needs were all made before, at any time."""
    store = settings.session.store
    keys: dict[str, str] = {}
    contents: dict[str, str] = {}
    for name in dependency_order(by_name):
        step = by_name[name]
        if all(need in contents for need in step.inputs.needs):
            keys[name] = step_key(step, contents, epoch=settings.epoch, tools=settings.tools)
            if (content := store.content(name, keys[name])) is not None:
                contents[name] = content
    return keys


def _plan(
    by_name: Mapping[str, Step],
    targets: Sequence[str],
    keys: Mapping[str, str],
    settings: Settings,
) -> tuple[dict[str, Path], set[str]]:
    """What is in the cache already and what has to run, from the targets downwards."""
    results: dict[str, Path] = {}
    missing: set[str] = set()
    pending = list(targets)
    while pending:
        name = pending.pop()
        if name in results or name in missing:
            continue
        key = keys.get(name)
        found = None if key is None else settings.session.store.lookup(name, key)
        if found is not None:
            results[name] = found
        else:
            missing.add(name)
            pending.extend(by_name[name].inputs.needs)
    return results, missing


class _Build:
    """The state of one `run_steps`; its thread alone starts steps and collects results."""

    def __init__(
        self,
        by_name: Mapping[str, Step],
        results: dict[str, Path],
        keys: dict[str, str],
        settings: Settings,
    ) -> None:
        self._by_name = by_name
        self._results = results
        self._keys = keys
        self._settings = settings
        self._cancellation = Cancellation()
        self._times_s = settings.session.store.times_s()
        self._times_lock = threading.Lock()

    def run(self, missing: set[str]) -> None:
        waiting = set(missing)
        running: dict[Future[Path], str] = {}
        failures: list[StepFailed] = []
        with ThreadPoolExecutor(MAX_PARALLEL_STEPS) as pool:
            try:
                while waiting or running:
                    for name in [] if failures else self._ready(waiting):
                        waiting.remove(name)
                        self._keys[name] = self._key(self._by_name[name])
                        running[pool.submit(self._run_step, self._by_name[name])] = name
                    if not running:
                        break
                    # A timeout, because a wait without one would not notice Ctrl-C.
                    done, _ = wait(running, timeout=WAIT_POLL_S, return_when=FIRST_COMPLETED)
                    for future in done:
                        name = running.pop(future)
                        try:
                            self._results[name] = future.result()
                        except StepFailed as failure:
                            failures.append(failure)
            except BaseException:
                self._cancellation.cancel()
                raise
        if failures:
            raise BuildFailed(failures)

    def _ready(self, waiting: set[str]) -> list[str]:
        return sorted(
            name
            for name in waiting
            if all(need in self._results for need in self._by_name[name].inputs.needs)
        )

    def _key(self, step: Step) -> str:
        """The key of a step whose needs have all been made."""
        store, settings = self._settings.session.store, self._settings
        contents: dict[str, str] = {}
        for need in step.inputs.needs:
            content = store.content(need, self._keys[need])
            if content is None:
                raise Internal(f"the cache has the result of {need}, but not its hash")
            contents[need] = content
        return step_key(step, contents, epoch=settings.epoch, tools=settings.tools)

    def _run_step(self, step: Step) -> Path:
        """In a worker thread: make the result of *step*, or take it from whoever made it first."""
        session, display = self._settings.session, self._settings.display
        display.started(step.name, self._times_s.get(step.name))
        outcome = "failed"
        try:
            with session.store.lock(
                f"{step.name}-{self._keys[step.name]}",
                self._cancellation.requested.is_set,
                lambda: display.progressed(step.name, None, "another build is making this"),
            ):
                found = session.store.lookup(step.name, self._keys[step.name])
                if found is not None:
                    outcome = "cached"
                    return found
                made = self._make(step)
            outcome = "done"
            return made
        except Cancelled:
            outcome = "stopped"
            raise
        finally:
            display.finished(step.name, outcome)

    def _make(self, step: Step) -> Path:
        session = self._settings.session
        work = session.directories(step.name)
        context = self._context(step, work.seen)
        context.log_path.write_text("", encoding="utf-8")
        started_s = time.monotonic()
        try:
            step.run(context)
            self._check_inputs(step)
        except Cancelled:
            session.discard(work)
            raise
        except Exception as error:  # whatever a step raises is that step's failure
            if self._cancellation.requested.is_set():
                session.discard(work)
                raise Cancelled(f"step {step.name} was stopped") from error
            session.store.keep_failed(work.real, step.name)
            raise self._failure(step, context, error) from error
        time_s = time.monotonic() - started_s
        record: dict[str, object] = {"step": step.name, "time_s": round(time_s, 1)}
        made = session.store.commit(work.real, step.name, self._keys[step.name], record)
        session.discard(work)
        session.store.forget_failed(step.name)
        with self._times_lock:
            session.store.record_time(step.name, time_s)
        return made

    def _check_inputs(self, step: Step) -> None:
        """Refuse a result that was made while somebody edited what it is made of.

        Raises:
            InvalidArgument: the inputs are not those that the key names.
        """
        if self._key(step) != self._keys[step.name]:
            raise InvalidArgument("an input was changed meanwhile", hint="start it again")

    def _context(self, step: Step, seen: Path) -> StepContext:
        display = self._settings.display
        epoch = self._settings.epoch if step.inputs.epoch is None else step.inputs.epoch
        return StepContext(
            name=step.name,
            output=seen / "output",
            scratch=seen / "scratch",
            jobs=self._settings.jobs,
            epoch=epoch,
            log_path=self._settings.session.logs / f"{step.name}.log",
            results={need: self._results[need] for need in step.inputs.needs},
            cancellation=self._cancellation,
            report=lambda fraction, text: display.progressed(step.name, fraction, text),
            report_warning=lambda text: display.say(f"WARNING: {step.name}: {text}"),
        )

    def _failure(self, step: Step, context: StepContext, error: Exception) -> StepFailed:
        """Say what failed with the end of its log; for a bug, with the traceback in the log."""
        if not isinstance(error, OrlopError):
            import traceback

            context.log("".join(traceback.format_exception(error)))
        message = str(error) or type(error).__name__
        command = context.last_command
        return StepFailed(
            step.name,
            f"{message}\n{_tail(context.log_path)}",
            log=context.log_path,
            replay=None
            if command is None
            else pasteable(["./orlop", "shell", "--", "sh", "-c", command]),
            hint=getattr(error, "hint", None),
        )


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  | {line}" for line in lines[-LOG_TAIL_LINES:])
