"""What a person sees while steps run.

On a terminal, one line per running step is repainted in place: a bar or a spinner, elapsed time,
and the time the step took last. Elsewhere (CI, a pipe) every event is one plain line, and a line
now and then shows that a long step is alive. The display decides nothing and never fails a build.
"""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TextIO

from orlop.lib.units import format_duration

REPAINT_S = 0.2
PLAIN_REMINDER_S = 60.0
BAR_CELLS = 20
SPINNER = "|/-\\"
NAME_CELLS = 16


@dataclass(slots=True)
class _Running:
    name: str
    started_s: float
    estimate_s: float | None
    fraction: float | None = None
    text: str = ""
    reminded_s: float = field(default=0.0)


class Display:
    """Shows the steps of one build on *stream*; a context manager with a repainting thread."""

    def __init__(
        self,
        stream: TextIO,
        *,
        terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._terminal = stream.isatty() if terminal is None else terminal
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._painted_lines = 0
        self._ticks = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Display":
        self._thread = threading.Thread(target=self._repaint_until_stopped, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._erase()
            self._flush()

    def started(self, name: str, estimate_s: float | None) -> None:
        """A step begins; *estimate_s* is what it took last time, None if never run."""
        with self._lock:
            now_s = self._clock()
            self._running[name] = _Running(name, now_s, estimate_s, reminded_s=now_s)
            if not self._terminal:
                usually = (
                    "" if estimate_s is None else f" (last time {format_duration(estimate_s)})"
                )
                self._line(f"{name}: started{usually}")

    def progressed(self, name: str, fraction: float | None, text: str) -> None:
        with self._lock:
            if (step := self._running.get(name)) is not None:
                step.fraction, step.text = fraction, text

    def finished(self, name: str, outcome: str = "done") -> None:
        """A step ends; *outcome* is a word or two: done, failed, stopped."""
        with self._lock:
            step = self._running.pop(name, None)
            took = "" if step is None else f" in {format_duration(self._clock() - step.started_s)}"
            self._line(f"{name}: {outcome}{took}")

    def say(self, text: str) -> None:
        """A line of its own, above the running steps."""
        with self._lock:
            self._line(text)

    def _line(self, text: str) -> None:
        self._erase()
        self._write(text + "\n")
        self._paint()
        self._flush()

    def _repaint_until_stopped(self) -> None:
        while not self._stop.wait(REPAINT_S):
            with self._lock:
                self._ticks += 1
                if self._terminal:
                    self._erase()
                    self._paint()
                    self._flush()
                else:
                    self._remind()

    def _remind(self) -> None:
        now_s = self._clock()
        for step in self._running.values():
            if now_s - step.reminded_s >= PLAIN_REMINDER_S:
                step.reminded_s = now_s
                self._write(describe(step_line(step, now_s, spinner="")) + "\n")
                self._flush()

    def _paint(self) -> None:
        if not self._terminal:
            return
        width = shutil.get_terminal_size().columns
        now_s = self._clock()
        for step in self._running.values():
            spinner = SPINNER[self._ticks % len(SPINNER)]
            self._write(step_line(step, now_s, spinner=spinner)[: width - 1] + "\n")
        self._painted_lines = len(self._running)

    def _erase(self) -> None:
        if self._painted_lines:
            self._write(f"\033[{self._painted_lines}A\033[J")
            self._painted_lines = 0

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except (OSError, ValueError):
            pass  # the reader went away: the build matters more than its picture

    def _flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            pass


def describe(line: str) -> str:
    """A painted line without the padding that only a terminal needs."""
    return " ".join(line.split())


def step_line(step: _Running, now_s: float, *, spinner: str) -> str:
    """`kernel           [#####---------------]  25%  1m02s of about 4m10s  CC mm/slub.o`."""
    elapsed_s = now_s - step.started_s
    fraction = step.fraction
    if fraction is None and step.estimate_s:
        # Never 100 %: the estimate is only what it took last time.
        fraction = min(elapsed_s / step.estimate_s, 0.99)
    if fraction is None:
        picture = f"{spinner:^{BAR_CELLS + 2}}      "
    else:
        cells = int(max(0.0, min(fraction, 1.0)) * BAR_CELLS)
        picture = f"[{'#' * cells}{'-' * (BAR_CELLS - cells)}] {fraction:4.0%} "
    of = f" of about {format_duration(step.estimate_s)}" if step.estimate_s else ""
    elapsed = format_duration(elapsed_s)
    return f"{step.name:<{NAME_CELLS}} {picture} {elapsed}{of}  {step.text}".rstrip()
