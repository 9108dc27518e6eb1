"""`./orlop test [STAGE...] [PYTEST ARGUMENT...]`: the checks and tests, in stages.

    lint         ruff format --check, ruff check, mypy --strict
    unit         tests/unit: no root, no network
    engine       tests/engine: the container engine on this Linux, with the real crun
    vm           tests/vm: the built image in QEMU; builds first
    conformance  tests/conformance: other people's clients against our API

A few tests that fail where time and the machine have a say (engine, vm, conformance) are run again
by themselves: what passes then does not fail the run, but is named as unsteady.

Without a stage all are run. Whatever begins with `-`, and all after it, goes to pytest, as do
paths. The last line is `N passed, N failed, N skipped`.
"""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orlop.cli.host.settings import HostSettings, host_settings
from orlop.cli.host.test_stages import MAX_RETRIED, Outcome, run_lint, run_pytest
from orlop.image.progress import Display
from orlop.image.store import Store
from orlop.lib.errors import InvalidArgument
from orlop.lib.process import pasteable
from orlop.lib.units import format_duration

LINT = "lint"
STAGES = (LINT, "unit", "engine", "vm", "conformance")
NEEDS_IMAGE = frozenset({"vm"})
CATALOGUE = "tests/engine/catalogue"
CATALOGUE_ENTRIES = (
    *("container-metrics", "cron", "iscsi", "metrics", "nfs-client", "open-vm-tools"),
    *("qemu-guest-agent", "registry-mirror", "toolbox", "fleet"),
)
"""Those that are built in some seconds; `--long` builds the others as well."""

PARALLEL = {"unit": "load", "engine": "loadfile"}
"""Stages of which several run side by side, by test or by file (xdist's `--dist`): an engine waits
for much of its time. Machines under emulation do not."""
RETRIED = frozenset({"engine", "vm", "conformance"})


@dataclass(frozen=True, slots=True)
class Request:
    """What to run: stages in order, and what goes to pytest."""

    stages: tuple[str, ...]
    arguments: tuple[str, ...] = field(default=())


def parse(argv: Sequence[str]) -> Request:
    """Split the command line into stages and pytest's arguments.

    Raises:
        InvalidArgument: a word before the first option is neither a stage nor a path.
    """
    stages: list[str] = []
    rest: list[str] = []
    for position, word in enumerate(argv):
        if word.startswith("-"):
            rest += argv[position + 1 :] if word == "--" else argv[position:]
            break
        if word in STAGES:
            stages.append(word)
        elif "/" in word or word.endswith(".py"):
            rest.append(word)
        else:
            raise InvalidArgument(
                f"there is no test stage {word!r}", hint=f"./orlop test {'|'.join(STAGES)}"
            )
    paths = [word for word in rest if not word.startswith("-") and "tests/" in word]
    if not stages and paths:
        named = {stage for stage in STAGES if any(f"tests/{stage}" in path for path in paths)}
        stages = [stage for stage in STAGES if stage in named]
    return Request(tuple(stage for stage in STAGES if stage in stages) or STAGES, tuple(rest))


def main(argv: list[str]) -> int:
    if argv[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    request = parse(argv)
    host = host_settings()
    if (status := _build_before(request, host)) != 0:
        return status
    os.chdir(host.checkout)
    logs = host.cache / "logs" / host.session
    logs.mkdir(exist_ok=True)
    outcomes: list[Outcome] = []
    store = Store(host.cache)
    for stage in request.stages:
        log = logs / f"test-{stage}.log"
        started_s = time.monotonic()
        outcome = _run_stage(stage, request, host, log, store)
        if stage in RETRIED and 0 < len(outcome.problems) == outcome.failed <= MAX_RETRIED:
            again = Request((stage,), tuple(outcome.failed_tests()))
            second = _run_stage(stage, again, host, log.with_stem(f"{log.stem}-again"), store)
            outcome = outcome.after_retry(second)
        took_s = time.monotonic() - started_s
        if not outcome.failed and not request.arguments:
            store.record_time(f"test-{stage}", took_s)
        print(f"{stage}: {outcome.describe()} in {format_duration(took_s)}; log: {log}")
        sys.stdout.flush()
        outcomes.append(outcome)
    total = Outcome.total(outcomes)
    for problem in total.unsteady:
        print(f"UNSTEADY {problem} (passed the second time)")
    for problem in total.problems:
        print(f"FAILED {problem}")
    if tests := [test for test in total.failed_tests() if "::" in test]:
        print(f"again: ./orlop test {pasteable(tests)}")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed else 0


def _has_tests(host: HostSettings, request: Request) -> bool:
    return any((host.checkout / "tests" / stage).glob("**/test_*.py") for stage in NEEDS_IMAGE)


def _build_before(request: Request, host: HostSettings) -> int:
    """Build what the tests of *request* need; the status."""
    if NEEDS_IMAGE & set(request.stages) and _has_tests(host, request):
        from orlop.cli.host import build

        status = build.main([])
        if status != 0:
            return status
    return _build_catalogue(request)


def _build_catalogue(request: Request) -> int:
    """Build what tests/engine/catalogue loads, before: the tests have no network."""
    paths = [word for word in request.arguments if "tests/" in word]
    if "engine" not in request.stages or (paths and not any(CATALOGUE in path for path in paths)):
        return 0
    from orlop.cli.host import catalogue

    long = "--long" in request.arguments
    return catalogue.main(["build", *(() if long else CATALOGUE_ENTRIES)])


def _run_stage(
    stage: str, request: Request, host: HostSettings, log: Path, store: Store
) -> Outcome:
    estimate_s = store.times_s().get(f"test-{stage}")
    with Display(sys.stderr) as display:
        display.started(stage, estimate_s)

        def report(fraction: float | None, text: str) -> None:
            display.progressed(stage, fraction, text)

        if stage == LINT:
            return run_lint(host.checkout, log, report)
        folder = host.checkout / "tests" / stage
        if not any(folder.glob("**/test_*.py")):
            return Outcome()
        arguments = list(request.arguments)
        whole = not any(f"tests/{stage}" in word for word in arguments)
        if whole:
            arguments.append(str(folder.relative_to(host.checkout)))
        arguments += side_by_side(stage, whole=whole)
        return run_pytest(arguments, host.checkout, log, report)


def side_by_side(stage: str, *, whole: bool) -> list[str]:
    """pytest's options for *stage*: files that somebody names run one after the other."""
    how, workers = PARALLEL.get(stage), os.cpu_count() or 1
    if how is None or workers == 1 or (how == "loadfile" and not whole):
        return []
    return ["-n", str(workers), "--dist", how]
