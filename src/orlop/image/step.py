"""What a build step is: a name, its inputs, and a function that fills a directory.

A step sees only what it declares. Its result is a directory in the cache under a key computed from
everything that it declares (`step_key`), so two checkouts with the same content share it, and
nothing is ever rebuilt because of a date or a path. `pipeline` runs steps.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orlop.lib.errors import Cancelled, OrlopError
from orlop.lib.process import describe_status, environment, pasteable

LOG_TAIL_LINES = 20
KILL_GRACE_S = 3.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that decides a step's result.

    files: files and trees, taken by content (names inside a tree count, its own path does not;
        of the mode only the executable bit).
    values: strings, for what is neither a file nor code: versions, options.
    needs: names of steps whose results this one reads.
    tools: Debian packages of the tool root whose versions matter; None (the default) means all.
        A long step names them, so that an unrelated new tool does not repeat it.
    epoch: seconds for this step's SOURCE_DATE_EPOCH, where it shall not change with the build's.
    """

    files: tuple[Path, ...] = ()
    values: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    tools: tuple[str, ...] | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One unit of work with a cached result.

    `run` fills `StepContext.output` and must depend on nothing but the declared inputs. The code of
    its module, and of the `orlop.image` and `orlop.wire` modules that this imports, is an input
    by itself. Bind arguments with `functools.partial` and put them into `inputs.values`.
    """

    name: str
    run: "Callable[[StepContext], None]"
    inputs: Inputs = field(default_factory=Inputs)


class StepFailed(OrlopError):
    """A step failed: which, how, and how to see it again."""

    def __init__(
        self, step: str, message: str, *, log: Path, replay: str | None, hint: str | None
    ) -> None:
        super().__init__(f"step {step}: {message}", hint=hint)
        self.step = step
        self.log = log
        self.replay = replay


class Cancellation:
    """Stops the commands of all steps at once; shared by the steps of one build."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self.requested = threading.Event()

    def start(self, process: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Start a process unless cancelled, so that `cancel` cannot miss it."""
        with self._lock:
            if self.requested.is_set():
                raise Cancelled("the build was stopped")
            started = process()
            self._running.add(started)
            return started

    def finished(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.discard(process)

    def cancel(self) -> None:
        """End every running command with its children: SIGTERM, and SIGKILL after a moment."""
        with self._lock:
            self.requested.set()
            running = list(self._running)
        for process in running:
            _signal_group(process, signal.SIGTERM)
        for process in running:
            try:
                process.wait(KILL_GRACE_S)
            except subprocess.TimeoutExpired:
                pass
            _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass  # the whole group is gone already


@dataclass(slots=True)
class StepContext:
    """What a running step works with.

    output: an empty directory to fill; becomes the result, whole, when `run` returns.
    scratch: an empty directory that is removed afterwards. Both have the same path in every build
        inside the tool root (/build/STEP/...), so that compilers cannot leak one.
    jobs: how many processes to use.
    epoch: seconds for SOURCE_DATE_EPOCH, which `run` and `capture` also export.
    """

    name: str
    output: Path
    scratch: Path
    jobs: int
    epoch: int
    log_path: Path
    results: Mapping[str, Path]
    cancellation: Cancellation
    report: Callable[[float | None, str], None]
    report_warning: Callable[[str], None]
    last_command: str | None = None

    def result(self, step: str) -> Path:
        """The directory that *step* made; it must be in `needs`. Read-only by agreement."""
        return self.results[step]

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Say how far the step is, 0.0 to 1.0, or None where that is not known."""
        self.report(fraction, text)

    def warn(self, text: str) -> None:
        """Say on screen, and in the log, what the person must know though the build goes on."""
        self.log(f"warning: {text}")
        self.report_warning(text)

    def log(self, text: str) -> None:
        with self.log_path.open("a", encoding="utf-8") as stream:
            stream.write(text + "\n")

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command in *cwd* (default: `scratch`) with its output in the step's log.

        Raises:
            OrlopError: it failed. The command is kept for the replay line.
            Cancelled: the build is being stopped.
        """
        with self.log_path.open("ab") as log:
            self._run(argv, cwd, env, log.fileno())

    def capture(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> str:
        """As `run`, but return standard output instead of logging it."""
        with self.log_path.open("ab") as log:
            captured = self._run(argv, cwd, env, log.fileno(), capture=True)
        return captured.decode(errors="surrogateescape")

    def _run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        cwd: Path | None,
        env: Mapping[str, str] | None,
        log: int,
        *,
        capture: bool = False,
    ) -> bytes:
        words = [os.fspath(word) for word in argv]
        directory = cwd or self.scratch
        variables = {"SOURCE_DATE_EPOCH": str(self.epoch), **(env or {})}
        exports = [f"{name}={value}" for name, value in sorted(variables.items())]
        command = pasteable(["env", *exports, *words], directory)
        os.write(log, f"+ {command}\n".encode(errors="surrogateescape"))
        process = self.cancellation.start(
            lambda: subprocess.Popen(
                words,
                cwd=directory,
                env=environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else log,
                stderr=log,
                process_group=0,  # a group of its own, so that cancelling reaches its children
            )
        )
        try:
            output, _ = process.communicate()
        finally:
            self.cancellation.finished(process)
        if self.cancellation.requested.is_set():
            raise Cancelled(f"step {self.name} was stopped")
        if process.returncode != 0:
            self.last_command = command
            raise OrlopError(f"{Path(words[0]).name} {describe_status(process.returncode)}")
        return output or b""
