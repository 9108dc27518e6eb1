"""Run linters and pytest for `./orlop test`: output to a log, progress and counts to the caller."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orlop.lib.process import describe_status, environment, pasteable

type Report = Callable[[float | None, str], None]

COUNT = re.compile(r"(\d+) (passed|failed|skipped|error|errors|xfailed|xpassed)")
PERCENT = re.compile(r"\[ *(\d+)%\]")
FAILED_TEST = re.compile(r"^(?:FAILED|ERROR) (?P<test>.+)$")
NOTHING_COLLECTED_STATUS = 5
TAIL_LINES = 60
WIDTH = "180"
SLOWEST = ("--durations=40", "--durations-min=2")
"""The log says where the time went."""
"""Of pytest's lines: the summary is to say what failed, and why."""

MAX_RETRIED = 5
"""So many failed tests get a second chance; more are no accident."""

LINTERS = (
    ("ruff format", ("ruff", "format", "--check", ".", "orlop")),
    ("ruff check", ("ruff", "check", ".", "orlop")),
    ("mypy", ("mypy",)),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Counts of one stage, or of all; *problems* names what failed, *unsteady* what failed and then
    passed by itself."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    problems: tuple[str, ...] = ()
    unsteady: tuple[str, ...] = ()

    def failed_tests(self) -> list[str]:
        """The names by which pytest runs them again."""
        return [problem.partition(" - ")[0] for problem in self.problems]

    def after_retry(self, second: "Outcome") -> "Outcome":
        """What counts once the failed tests have run again, with the outcome *second*."""
        if second.passed + second.failed + second.skipped < len(self.problems):
            return self  # some have not run
        still = set(second.failed_tests())
        named = list(zip(self.failed_tests(), self.problems, strict=True))
        return Outcome(
            self.passed + second.passed,
            second.failed,
            self.skipped + second.skipped,
            second.problems,
            tuple(problem for test, problem in named if test not in still),
        )

    def describe(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    @staticmethod
    def total(outcomes: "Iterable[Outcome]") -> "Outcome":
        every = list(outcomes)
        return Outcome(
            sum(outcome.passed for outcome in every),
            sum(outcome.failed for outcome in every),
            sum(outcome.skipped for outcome in every),
            tuple(problem for outcome in every for problem in outcome.problems),
            tuple(problem for outcome in every for problem in outcome.unsteady),
        )


def parse_counts(output: str) -> Outcome:
    """The counts in the last line of pytest's output that has any; errors count as failures."""
    problems = tuple(
        match["test"] for line in output.splitlines() if (match := FAILED_TEST.match(line))
    )
    for line in reversed(output.splitlines()):
        counts = {word.rstrip("s"): int(number) for number, word in COUNT.findall(line)}
        if counts:
            return Outcome(
                counts.get("passed", 0) + counts.get("xfailed", 0),
                counts.get("failed", 0) + counts.get("error", 0) + counts.get("xpassed", 0),
                counts.get("skipped", 0),
                problems,
            )
    return Outcome(problems=problems)


def run_lint(checkout: Path, log: Path, report: Report) -> Outcome:
    """Run every linter, each counting as one test."""
    passed, problems = 0, []
    with log.open("w", encoding="utf-8", buffering=1) as stream:
        for number, (name, argv) in enumerate(LINTERS):
            report(number / len(LINTERS), name)
            done = subprocess.run(
                argv,
                cwd=checkout,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                text=True,
            )
            stream.write(f"+ {pasteable(argv)}\n{done.stdout}\n")
            if done.returncode == 0:
                passed += 1
            else:
                problems.append(f"{name} (./orlop shell -- {pasteable(argv)})")
                _show_tail(done.stdout)
    return Outcome(passed, len(problems), 0, tuple(problems))


def run_pytest(arguments: Sequence[str], checkout: Path, log: Path, report: Report) -> Outcome:
    """Run pytest, reading its progress; tests that fail are shown when they are all done."""
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *SLOWEST, *arguments]
    lines: list[str] = []
    with log.open("w", encoding="utf-8", buffering=1) as stream:
        stream.write(f"+ {pasteable(argv)}\n")
        process = subprocess.Popen(
            argv,
            cwd=checkout,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                stream.write(line)
                lines.append(line)
                if (match := PERCENT.search(line)) is not None:
                    report(int(match[1]) / 100, "")
            status = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    outcome = parse_counts("".join(lines))
    if status == NOTHING_COLLECTED_STATUS:
        return Outcome()
    if status != 0:
        _show_tail("".join(lines))
        if not outcome.failed:  # pytest itself fell over
            problem = f"pytest {describe_status(status)}"
            return Outcome(outcome.passed, 1, outcome.skipped, (problem,))
    return outcome


def _environment() -> dict[str, str]:
    kept = ("PATH", "PYTHONPATH", "PYTHONPYCACHEPREFIX")
    orlop = {name: value for name, value in os.environ.items() if name.startswith("ORLOP_")}
    given = orlop | {name: os.environ[name] for name in kept if name in os.environ}
    return environment(given | {"COLUMNS": WIDTH})


def _show_tail(output: str) -> None:
    print("\n".join(f"  | {line}" for line in output.splitlines()[-TAIL_LINES:]))
