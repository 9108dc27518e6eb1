"""The build cache: results by key, work in progress, locks, logs, times of past runs.

    store/STEP-KEY/     output/ and step.json; appears by rename, whole, and never changes again
    contents/STEP-KEY   the content hash of a result, which outlives it
    work/SESSION/       one build's temporary directories; belongs to whoever holds SESSION.lock
    failed/STEP/        the directories of a step's last failure, for the replay command
    locks/              one lock per key, and `prune`, which builds hold shared
    logs/SESSION/       a log per step
    times.json          seconds each step took when it last ran

Locks are flocks, which end with their process however that ends; so whatever lies in work/ without
a held lock is rubbish of a dead build, and the next one removes it (`lib.owned_directory`).
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orlop.image.tree_hash import hash_result
from orlop.lib import atomic_file
from orlop.lib.errors import Cancelled, Conflict
from orlop.lib.owned_directory import own, remove_tree, remove_unowned, try_lock
from orlop.lib.process import run

KEPT_PER_STEP = 4
"""Results kept of each step, the last used ones: room for some branches, not for all of time."""

KEPT_LOGS = 20
LOCK_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class WorkDirectories:
    """Where one step works: the real place, and the path under which the step sees it."""

    real: Path
    seen: Path


class Store:
    """The cache at *root*. One `Session` per build does the work in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("store", "contents", "work", "failed", "locks", "logs"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def entry(self, step: str, key: str) -> Path:
        return self.root / "store" / f"{step}-{key}"

    def lookup(self, step: str, key: str) -> Path | None:
        """The result under *key*, noting that it was used, or None."""
        entry = self.entry(step, key)
        try:
            os.utime(entry / "step.json")
        except FileNotFoundError:
            return None
        return entry / "output"

    def content(self, step: str, key: str) -> str | None:
        """The content hash of the result under *key*, even if it was pruned; None if never made."""
        try:
            return (self.root / "contents" / f"{step}-{key}").read_text()
        except FileNotFoundError:
            return None

    @contextmanager
    def lock(
        self, name: str, cancelled: Callable[[], bool], waiting: Callable[[], None]
    ) -> Iterator[None]:
        """Hold the lock *name*; *waiting* is called once if another process has it.

        Raises:
            Cancelled: *cancelled* became true while waiting.
        """
        with (self.root / "locks" / name).open("w") as stream:
            told = False
            while not try_lock(stream.fileno(), fcntl.LOCK_EX):
                if not told:
                    waiting()
                    told = True
                if cancelled():
                    raise Cancelled(f"stopped while another build made {name}")
                time.sleep(LOCK_POLL_S)
            yield

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While this is held nothing is pruned."""
        with (self.root / "locks" / "prune").open("w") as stream:
            fcntl.flock(stream.fileno(), fcntl.LOCK_SH)
            yield

    def commit(self, work: Path, step: str, key: str, record: dict[str, object]) -> Path:
        """Make *work*/output the result under *key*: everything synced, then one rename."""
        made = work / "entry"
        made.mkdir()
        content = hash_result(work / "output")
        (work / "output").rename(made / "output")
        (made / "step.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        run(["sync", "--file-system", str(made)])
        entry = self.entry(step, key)
        # First the hash: a result in the store always has one.
        atomic_file.write_text(self.root / "contents" / entry.name, content)
        made.rename(entry)
        atomic_file.sync_directory(entry.parent)
        return entry / "output"

    def keep_failed(self, work: Path, step: str) -> None:
        """Keep the directories of a failed step where its replay command expects them."""
        kept = self.root / "failed" / step
        remove_tree(kept)
        work.rename(kept)

    def forget_failed(self, step: str) -> None:
        remove_tree(self.root / "failed" / step)

    def times_s(self) -> dict[str, float]:
        """Seconds that each step took when it last ran; steps never run are missing."""
        try:
            times = json.loads((self.root / "times.json").read_text())
            return {str(step): float(time_s) for step, time_s in times.items()}
        except (FileNotFoundError, ValueError, AttributeError, TypeError):
            return {}  # only estimates: not worth failing for

    def record_time(self, step: str, time_s: float) -> None:
        times = json.dumps(self.times_s() | {step: round(time_s, 1)}, indent=1, sort_keys=True)
        atomic_file.write_text(self.root / "times.json", times + "\n", durable=False)

    def prune(self, *, kept_per_step: int = KEPT_PER_STEP) -> list[Path]:
        """Remove the results of each step but the *kept_per_step* last used; returns the removed.

        Raises:
            Conflict: a build is running.
        """
        with (self.root / "locks" / "prune").open("w") as stream:
            if not try_lock(stream.fileno(), fcntl.LOCK_EX):
                raise Conflict("a build is running", hint="wait for it, or stop it, and try again")
            by_step: dict[str, list[Path]] = {}
            for entry in (self.root / "store").iterdir():
                by_step.setdefault(entry.name.rpartition("-")[0], []).append(entry)
            removed = []
            for entries in by_step.values():
                entries.sort(key=_last_used, reverse=True)
                removed += entries[kept_per_step:]
            for entry in removed:
                self._remove_entry(entry)
            for lock in (self.root / "locks").iterdir():
                if lock.name != "prune":  # whoever takes one holds `prune` as well
                    lock.unlink()
            return removed

    def _remove_entry(self, entry: Path) -> None:
        # Out of the store in one step first: a kill while removing may not leave half an entry.
        doomed = self.root / "work" / f"removed-{os.getpid()}-{entry.name}"
        entry.rename(doomed)
        remove_tree(doomed)


def _last_used(entry: Path) -> float:
    try:
        return (entry / "step.json").stat().st_mtime
    except FileNotFoundError:
        return 0.0


class Session:
    """One build's share of the work directory; a context manager.

    *mount* is where the tool root shows this session's directory (`/build`), if it does: then
    steps see the same paths in every build.
    """

    def __init__(self, store: Store, name: str, *, mount: Path | None = None) -> None:
        self.store = store
        self.name = name
        self.mount = mount
        self.directory = store.root / "work" / name / "build"
        self.logs = store.root / "logs" / name

    def __enter__(self) -> "Session":
        remove_unowned(self.store.root / "work")
        _, self._lock = own(self.store.root / "work", self.name)
        self.directory.mkdir(exist_ok=True)
        self.logs.mkdir(exist_ok=True)
        _remove_old_logs(self.store.root)
        return self

    def __exit__(self, *_: object) -> None:
        for child in self.directory.iterdir():  # not itself: it may be mounted, and used again
            remove_tree(child)
        os.close(self._lock)
        remove_unowned(self.store.root / "work")  # the rest, unless the launcher owns it too

    def directories(self, step: str) -> WorkDirectories:
        """Fresh `output` and `scratch` directories for *step*."""
        real = self.directory / step
        remove_tree(real)
        for name in ("output", "scratch"):
            (real / name).mkdir(parents=True)
        return WorkDirectories(real, self.mount / step if self.mount else real)

    def discard(self, work: WorkDirectories) -> None:
        """Remove what a step leaves behind: scratch, and output if it was not committed."""
        remove_tree(work.real)


def _remove_old_logs(root: Path) -> None:
    """Remove the oldest, but never those of a build that still runs, however old it is."""
    logs = sorted((root / "logs").iterdir(), key=lambda path: path.stat().st_mtime)
    for old in logs[:-KEPT_LOGS]:
        if not (root / "work" / f"{old.name}.lock").exists():
            remove_tree(old)
