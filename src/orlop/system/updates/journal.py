"""What is being changed, and what has been: written down before it is done.

    journal     lines `CRC32 JSON`, only ever appended to
    pending     there exactly while a change is not at its end: one look tells a boot that

A change is a verb with its tasks. Each task is Do, Doing, Done, or on the way back Undo, Undoing,
Undone; the change ends Done, Undone or Error. There is one change at a time. A last line that a
power cut has torn is no line, nor is one that a disk has damaged; from the others follows what has
to be done or undone. All functions block.
"""

from __future__ import annotations

import errno
import json
import os
import time
from binascii import crc32
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.errors import Conflict, OrlopError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from orlop.wire.compose_model import Json

COMPACT_BYTES = 256 << 10
"""A longer journal is written anew when it is opened and between changes, with the last `KEPT`."""
KEPT = 100
MAX_BYTES = 4 << 20


class Status(StrEnum):
    """Of a task or a change."""

    DO = "Do"
    DOING = "Doing"
    DONE = "Done"
    UNDO = "Undo"
    UNDOING = "Undoing"
    UNDONE = "Undone"
    ERROR = "Error"


FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a disk says that may have room again."""

ENDS = frozenset({Status.DONE, Status.UNDONE, Status.ERROR})


@dataclass(frozen=True, slots=True)
class Change:
    """*tasks*: name to status, in their order. *created_s*, *ended_s*: seconds since 1970."""

    number: int
    verb: str
    created_s: float
    tasks: Mapping[str, Status]
    data: Mapping[str, Json] = field(default_factory=dict)
    status: Status = Status.DOING
    error: str = ""
    ended_s: float = 0.0

    @property
    def is_at_end(self) -> bool:
        return self.status in ENDS


@dataclass(frozen=True, slots=True)
class Task:
    """A step of a change. Both functions may be called again after they were interrupted."""

    name: str
    do: Callable[[], None]
    undo: Callable[[], None] = lambda: None


class Journal:
    """The journal in *directory*, which is made with the first change."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "journal"
        self._pending = directory / "pending"
        self.changes: dict[int, Change] = {}
        self.on_trial = False
        """Whether this boot is the trial that the change `apply` waits for."""
        self._read()

    def unfinished(self) -> Change | None:
        """The change that is not at its end."""
        last = next(reversed(self.changes.values()), None)
        return None if last is None or last.is_at_end else last

    def refuse_busy(self) -> None:
        """Raises Conflict: a change is not at its end."""
        if (busy := self.unfinished()) is None:
            return
        text = f"busy: change {busy.number} ({busy.verb}) is not at its end"
        if busy.verb != "apply":
            raise Conflict(text, hint="orlop os history")
        if self.on_trial:  # which cannot be cancelled
            text = f"busy: generation {busy.data.get('generation')} is on trial"
            raise Conflict(text, hint="wait until that is over; orlop reboot ends it")
        raise Conflict(text, hint="orlop os cancel")

    def begin(self, verb: str, tasks: Iterable[str], data: Mapping[str, Json]) -> Change:
        """A new change.

        Raises:
            Conflict: another one is not at its end.
            OSError: it cannot be written down; there is no change then.
        """
        self.refuse_busy()
        if self._size() > COMPACT_BYTES:
            self._compact()
        number = max(self.changes, default=0) + 1
        change = Change(number, verb, time.time(), dict.fromkeys(tasks, Status.DO), dict(data))
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        atomic_file.write_text(self._pending, f"{number}\n", mode=0o600)
        self._append(_line_of(change))
        self.changes[number] = change
        return change

    def set_task(self, number: int, name: str, status: Status) -> Change:
        """Note that task *name* has come to *status*."""
        change = self.changes[number]
        self._append({"change": number, "task": name, "status": status})
        return self._keep(replace(change, tasks={**change.tasks, name: status}))

    def note(self, number: int, data: Mapping[str, Json]) -> Change:
        """Add *data* to what is known of a change."""
        change = self.changes[number]
        self._append({"change": number, "data": dict(data)})
        return self._keep(replace(change, data={**change.data, **data}))

    def end(self, number: int, status: Status, error: str = "") -> Change:
        """The change is at its end."""
        now_s = time.time()
        self._append({"change": number, "status": status, "error": error, "at": now_s})
        self._keep(replace(self.changes[number], status=status, error=error, ended_s=now_s))
        self.forget_pending()
        return self.changes[number]

    def forget_pending(self) -> None:
        """Nothing is to be looked after at the next boot."""
        self._pending.unlink(missing_ok=True)
        if self._directory.is_dir():
            atomic_file.sync_directory(self._directory)

    def run(self, verb: str, tasks: Sequence[Task], data: Mapping[str, Json]) -> Change:
        """Begin a change and carry it out; what fails is undone.

        Raises:
            Conflict: as `begin`. OrlopError, OSError: why it failed; it is undone then.
        """
        change = self.begin(verb, (task.name for task in tasks), data)
        self.carry_out(change.number, tasks)
        return self.end(change.number, Status.DONE)

    def carry_out(self, number: int, tasks: Sequence[Task]) -> None:
        """Do *tasks* of a change, which does not end with that; what fails is undone.

        Raises:
            OrlopError, OSError: why it failed; the change is at its end then, unless the disk does
                not take that either.
        """
        for task in tasks:
            try:
                self.set_task(number, task.name, Status.DOING)
                task.do()
                self.set_task(number, task.name, Status.DONE)
            except (OrlopError, OSError) as error:
                self.take_back(number, tasks, str(error))
                raise

    def take_back(self, number: int, tasks: Sequence[Task], error: str) -> Change:
        """Undo what has been done of a change, in reverse order; it ends with that.

        Raises:
            OSError: a disk is full; the change goes on at the next opportunity.
        """
        full: OSError | None = None
        status, begun = Status.UNDONE, self.changes[number].tasks
        for task in reversed(tasks):
            if begun.get(task.name, Status.DO) in (Status.DO, Status.UNDONE):
                continue
            try:
                self.set_task(number, task.name, Status.UNDOING)
                task.undo()
                self.set_task(number, task.name, Status.UNDONE)
            except (OrlopError, OSError) as failure:
                if isinstance(failure, OSError) and failure.errno in FULL:
                    full = failure
                    continue
                # What a broken disk never lets undo must not be in the way of every other change.
                status, error = Status.ERROR, f"{error}; cannot undo {task.name}: {failure}"
        if full is not None:
            raise full
        return self.end(number, status, error)

    def redo(self, number: int, tasks: Sequence[Task]) -> None:
        """Bring a change that was interrupted to its end by doing *tasks* once more."""
        try:
            self.carry_out(number, tasks)
        except (OrlopError, OSError):
            if not self.changes[number].is_at_end:
                raise
            return  # it is at its end, and says why
        self.end(number, Status.DONE)

    def _keep(self, change: Change) -> Change:
        self.changes[change.number] = change
        return change

    def _size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def _append(self, line: Mapping[str, Json]) -> None:
        """Durably; what a failure has left of a line is taken away again."""
        descriptor = os.open(
            self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            size = os.fstat(descriptor).st_size
            data = _encode(line)
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if size == 0:
            atomic_file.sync_directory(self._directory)

    def _read(self) -> None:
        try:
            with self._path.open("rb") as stream:
                data = stream.read(MAX_BYTES)
        except FileNotFoundError:
            return
        whole = place = 0
        for raw in data.splitlines(keepends=True):
            place += len(raw)
            if (line := _decode(raw)) is not None:
                whole = place
                self._apply(line)
        if whole < len(data):
            # What would be appended behind a torn line would be lost with it.
            os.truncate(self._path, whole)
        if whole > COMPACT_BYTES:
            with suppress(OSError):  # a full disk: what is written can be read all the same
                self._compact()

    def _apply(self, line: Mapping[str, Json]) -> None:
        number = line["change"]
        assert isinstance(number, int)
        if "verb" in line:
            self.changes[number] = _change_of(line)
            return
        change = self.changes.get(number)
        if change is None:
            return  # the line with which it began is damaged
        if "task" in line:
            status = Status(str(line["status"]))
            change = replace(change, tasks={**change.tasks, str(line["task"]): status})
        elif "status" in line:
            ended = line.get("at")
            change = replace(
                change,
                status=Status(str(line["status"])),
                error=str(line.get("error") or ""),
                ended_s=ended if isinstance(ended, float) else 0.0,
            )
        elif isinstance(more := line.get("data"), dict):
            change = replace(change, data={**change.data, **more})
        self.changes[number] = change

    def _compact(self) -> None:
        """Write it anew, by rename. What has come through a trial may be rolled back to."""
        proven = [
            n for n, c in self.changes.items() if c.verb == "apply" and c.status is Status.DONE
        ]
        for number in {*sorted(self.changes)[:-KEPT]} - {*sorted(proven)[-KEPT:]}:
            del self.changes[number]
        lines = b"".join(_encode(_line_of(change)) for change in self.changes.values())
        atomic_file.write_bytes(self._path, lines, mode=0o600)


def _line_of(change: Change) -> dict[str, Json]:
    return {
        "change": change.number,
        "verb": change.verb,
        "created": change.created_s,
        "tasks": {name: status.value for name, status in change.tasks.items()},
        "data": dict(change.data),
        "status": change.status,
        "error": change.error,
        "at": change.ended_s,
    }


def _change_of(line: Mapping[str, Json]) -> Change:
    tasks, data = line.get("tasks"), line.get("data")
    created, ended = line.get("created"), line.get("at")
    return Change(
        int(str(line["change"])),
        str(line["verb"]),
        created if isinstance(created, float) else 0.0,
        {k: Status(str(v)) for k, v in (tasks if isinstance(tasks, dict) else {}).items()},
        data if isinstance(data, dict) else {},
        Status(str(line["status"])),
        str(line.get("error") or ""),
        ended if isinstance(ended, float) else 0.0,
    )


def _encode(line: Mapping[str, Json]) -> bytes:
    text = json.dumps(line, separators=(",", ":")).encode()
    return b"%08x %s\n" % (crc32(text), text)


def _decode(raw: bytes) -> dict[str, Json] | None:
    """The line; None for one that is torn or damaged."""
    check, _, text = raw.partition(b" ")
    if not text.endswith(b"\n") or check != b"%08x" % crc32(text[:-1]):
        return None
    line = json.loads(text)
    return line if isinstance(line, dict) and "change" in line else None
