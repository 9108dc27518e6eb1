"""The build pipeline: what a crash, a stop and a second build leave, and what is run again."""

import fcntl
import functools
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orlop.image.pipeline import BuildFailed, Inputs, Settings, Step, StepContext, run_steps
from orlop.image.progress import Display
from orlop.image.store import KEPT_LOGS, Session, Store
from orlop.lib.errors import InvalidArgument

type Build = Callable[..., dict[str, Path]]

EPOCH = 1_700_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def build(store: Store, screen: io.StringIO) -> Iterator[Build]:
    def run(
        *steps: Step, targets: tuple[str, ...] = (), session: str = "session"
    ) -> dict[str, Path]:
        with Display(screen, terminal=False) as display, Session(store, session) as opened:
            names = targets or tuple(step.name for step in steps)
            return run_steps(steps, names, Settings(opened, display, EPOCH, tools={}, jobs=1))

    yield run
    assert list((store.root / "work").iterdir()) == [], "a finished build leaves no temporary files"


def write_greeting(context: StepContext, text: str) -> None:
    (context.output / "greeting").write_text(text)


def count_run(context: StepContext, counter: Path) -> None:
    with counter.open("a") as stream:
        stream.write("x")
    (context.output / "made").touch()


def copy_greeting(context: StepContext) -> None:
    text = (context.result("greet") / "greeting").read_text()
    (context.output / "copy").write_text(text)


def fail(context: StepContext) -> None:
    context.run(["sh", "-c", "echo it went wrong; exit 3"], env={"WORD": "two words"})


def greet(text: str = "hello") -> Step:
    return Step("greet", functools.partial(write_greeting, text=text), Inputs(values=(text,)))


def test_results_flow_from_need_to_need(build: Build) -> None:
    results = build(greet(), Step("copy", copy_greeting, Inputs(needs=("greet",))))

    assert (results["copy"] / "copy").read_text() == "hello"


def test_same_inputs_are_not_run_again(build: Build, tmp_path: Path) -> None:
    step = Step("count", functools.partial(count_run, counter=tmp_path / "counter"))

    first = build(step)
    second = build(step)

    assert first == second
    assert (tmp_path / "counter").read_text() == "x"


def test_logs_of_a_build_that_still_runs_are_kept(store: Store) -> None:
    with Session(store, "long") as long:
        log = long.logs / "kernel.log"
        log.touch()
        os.utime(long.logs, (0, 0))
        for number in range(KEPT_LOGS + 2):
            with Session(store, f"short{number}"):
                pass
        assert log.exists()
    with Session(store, "after"):
        pass

    assert not log.exists()


def test_a_result_of_inputs_that_changed_meanwhile_is_not_kept(
    build: Build, tmp_path: Path
) -> None:
    source = tmp_path / "source"

    def edit_while_copying(context: StepContext) -> None:
        (context.output / "copy").write_text(source.read_text())
        source.write_text("second")

    source.write_text("first")
    step = Step("copy", edit_while_copying, Inputs(files=(source,)))
    with pytest.raises(BuildFailed, match="changed meanwhile"):
        build(step)

    made = build(step)["copy"]

    assert (made / "copy").read_text() == "second"


def test_needs_of_a_cached_step_are_not_looked_at(build: Build, store: Store) -> None:
    copy = Step("copy", copy_greeting, Inputs(needs=("greet",)))
    results = build(greet(), copy)
    (results["greet"] / "greeting").unlink()

    assert list(build(greet(), copy, targets=("copy",))) == ["copy"]


def test_a_need_that_comes_out_the_same_repeats_nothing(build: Build, tmp_path: Path) -> None:
    def count(context: StepContext) -> None:
        with (tmp_path / "counter").open("a") as stream:
            stream.write("x")

    count_it = Step("count", count, Inputs(needs=("greet",)))

    def greet_after(reason: str) -> Step:
        run = functools.partial(write_greeting, text="hello")
        return Step("greet", run, Inputs(values=(reason,)))

    first = build(greet_after("one reason"), count_it)
    second = build(greet_after("another"), count_it)

    assert first["greet"] != second["greet"]
    assert first["count"] == second["count"]
    assert (tmp_path / "counter").read_text() == "x"


def test_pruned_needs_are_not_made_again_for_a_cached_step(build: Build, store: Store) -> None:
    copy = Step("copy", copy_greeting, Inputs(needs=("greet",)))
    results = build(greet(), copy)
    shutil.rmtree(results["greet"].parent)

    assert build(greet(), copy, targets=("copy",)) == {"copy": results["copy"]}


def test_failure_says_how_to_see_it_again(build: Build, store: Store) -> None:
    with pytest.raises(BuildFailed) as caught:
        build(Step("bad", fail))

    [failure] = caught.value.failures
    assert "it went wrong" in str(failure)
    assert "exited with 3" in str(failure)
    assert failure.replay is not None
    assert failure.replay.startswith("./orlop shell -- sh -c ")
    assert "WORD=two words" in failure.replay
    assert (store.root / "failed" / "bad" / "scratch").is_dir(), "the replay needs its directory"
    assert list((store.root / "store").iterdir()) == []


def test_other_steps_survive_a_failure(build: Build, store: Store) -> None:
    with pytest.raises(BuildFailed):
        build(greet(), Step("bad", fail))

    build(greet())
    assert [entry.name.partition("-")[0] for entry in (store.root / "store").iterdir()] == ["greet"]


def test_success_forgets_the_failure(build: Build, store: Store, tmp_path: Path) -> None:
    def flaky(context: StepContext) -> None:
        context.run(["test", "-e", str(tmp_path / "repaired")])

    with pytest.raises(BuildFailed):
        build(Step("flaky", flaky))
    (tmp_path / "repaired").touch()
    build(Step("flaky", flaky))

    assert list((store.root / "failed").iterdir()) == []


def test_exception_of_a_step_is_in_its_log(build: Build) -> None:
    def broken(context: StepContext) -> None:
        raise ValueError("a bug")

    with pytest.raises(BuildFailed) as caught:
        build(Step("broken", broken))

    assert "Traceback" in caught.value.failures[0].log.read_text()


def test_circles_and_unknown_needs_are_refused(build: Build) -> None:
    one = Step("one", fail, Inputs(needs=("two",)))
    two = Step("two", fail, Inputs(needs=("one",)))

    with pytest.raises(InvalidArgument, match="one -> two -> one"):
        build(one, two)
    with pytest.raises(InvalidArgument, match="needs two, which is not a step"):
        build(one)


def test_steps_that_do_not_depend_on_each_other_run_together(build: Build) -> None:
    meeting = threading.Barrier(2, timeout=10)

    def meet(context: StepContext) -> None:
        meeting.wait()

    build(Step("one", meet), Step("two", meet))


def test_concurrent_builds_make_a_step_once(store: Store, tmp_path: Path) -> None:
    def slow(context: StepContext) -> None:
        with (tmp_path / "counter").open("a") as stream:
            stream.write("x")
        time.sleep(0.3)

    def one_build(name: str) -> None:
        with Display(io.StringIO(), terminal=False) as display, Session(store, name) as session:
            run_steps([Step("slow", slow)], ["slow"], Settings(session, display, EPOCH))

    threads = [threading.Thread(target=one_build, args=(f"build-{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (tmp_path / "counter").read_text() == "x"


KILLED_BUILD = """
import sys
from pathlib import Path
from orlop.image.pipeline import Settings, Step, run_steps
from orlop.image.progress import Display
from orlop.image.store import KEPT_LOGS, Session, Store

def endless(context):
    (context.output / "half").write_text("half")
    print("running", flush=True)
    context.run(["sleep", "1000"])

store = Store(Path(sys.argv[1]))
with Display(sys.stderr, terminal=False) as display, Session(store, "doomed") as session:
    run_steps([Step("endless", endless)], ["endless"], Settings(session, display, 1))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_build_leaves_nothing_after_the_next_start(
    store: Store, tmp_path: Path, number: signal.Signals
) -> None:
    script = tmp_path / "killed_build.py"
    script.write_text(KILLED_BUILD)
    # A test run in the background of a script ignores SIGINT, and what it starts inherits that.
    with subprocess.Popen(
        ["env", "--default-signal", sys.executable, str(script), str(store.root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"running\n"
        process.send_signal(number)
        process.wait(timeout=20)

    # The killed build's command ends a moment after it, and holds the session's lock until then.
    limit_s = time.monotonic() + 20
    while time.monotonic() < limit_s:
        with Session(store, "next"):
            pass
        if not list((store.root / "work").iterdir()):
            break

    assert list((store.root / "work").iterdir()) == []
    assert list((store.root / "store").iterdir()) == []


def test_living_session_is_not_cleaned_away(store: Store) -> None:
    with Session(store, "living") as living:
        with Session(store, "other"):
            pass
        assert living.directory.is_dir()


def test_prune_keeps_what_was_used_last(build: Build, store: Store) -> None:
    for age_s, text in ((300, "old"), (200, "older than new"), (100, "new")):
        [result] = build(greet(text)).values()
        os.utime(result.parent / "step.json", (time.time() - age_s,) * 2)

    removed = store.prune(kept_per_step=1)

    [kept] = (store.root / "store").iterdir()
    assert (kept / "output" / "greeting").read_text() == "new"
    assert len(removed) == 2


def test_display_without_terminal_prints_lines(build: Build, screen: io.StringIO) -> None:
    build(greet())
    build(greet())

    lines = screen.getvalue().splitlines()
    assert lines[0] == "greet: started"
    assert lines[1].startswith("greet: done in ")
    assert lines[2] == "cached: greet"


def test_lock_is_free_after_a_build(build: Build, store: Store) -> None:
    build(greet())

    for lock in (store.root / "locks").iterdir():
        with lock.open() as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
