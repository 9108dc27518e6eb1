"""`orlop engine check [--repair]`: what is wrong with an engine's data, and mending it.

For an engine that does not run. Each check looks at one kind of thing and yields what it finds;
with *repair* it mends that first, where it can be done without losing anything that is whole: what
cannot be read is set aside, not deleted. The status is 0 when nothing is wrong any more.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine.container import record as record_file
from orlop.engine.logs import file
from orlop.engine.store.check import check_store
from orlop.lib import atomic_file
from orlop.lib.errors import OrlopError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orlop.engine.container.record import Record
    from orlop.engine.options import Options

PROBLEMS_STATUS = 1


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong, in words; *mended* says what was done about it, if anything was."""

    problem: str
    mended: str = ""


type Check = Callable[[Path, bool], Iterator[Finding]]


def main(options: Options) -> int:
    """Run all checks and print what they find."""
    left = mended = 0
    for check in CHECKS:
        for finding in check(options.data, options.repair):
            print(f"{finding.problem}{f': {finding.mended}' if finding.mended else ''}")
            mended += bool(finding.mended)
            left += not finding.mended
    print(f"{left} problems, {mended} mended" if left or mended else "nothing is wrong")
    if left and not options.repair:
        print("  (try: orlop engine check --repair)")
    return PROBLEMS_STATUS if left else 0


def check_records(data: Path, repair: bool) -> Iterator[Finding]:
    """Containers whose record is missing, damaged, or has the name of another one."""
    names: dict[str, str] = {}
    for directory in _directories(data / "containers"):
        short = directory.name[:12]
        if not (directory / record_file.FILE_NAME).exists():
            # One that is being made has its record before anything else.
            if all(_is_temporary(path) for path in directory.iterdir()):
                yield _delete(directory, repair, f"{directory} is half made")
            else:
                yield _set_aside(data, directory, repair, f"container {short} has no record")
            continue
        try:
            record = record_file.read(directory)
        except (OSError, OrlopError) as error:
            yield _set_aside(data, directory, repair, f"container {short}: {error}")
            continue
        yield from _check_state(record, directory, repair)
        if record.config.name in names:
            text = f"container {short} is called {record.config.name}, as is "
            yield _set_aside(data, directory, repair, text + names[record.config.name])
        names.setdefault(record.config.name, short)


def _check_state(record: Record, directory: Path, repair: bool) -> Iterator[Finding]:
    path = directory / record_file.STATE_NAME
    try:
        record_file.read_state(record, directory)
    except FileNotFoundError:
        return
    except (OSError, OrlopError) as error:
        done = ""
        if repair:
            path.unlink()
            done = "removed, an older state counts"
        yield Finding(f"state of container {record.config.name}: {error}", done)


def check_set_aside(data: Path, repair: bool) -> Iterator[Finding]:
    """Containers that an engine or an earlier check has set aside, and that can be read now."""
    for directory in _directories(data / "broken"):
        try:
            record = record_file.read(directory)
        except (OSError, OrlopError):
            yield Finding(f"container {directory.name[:12]} is set aside in {directory}")
            continue
        if _is_named(data, record.config.name):
            text = f"container {record.config.name} is set aside in {directory}: the name is taken"
            yield Finding(text)
            continue
        done = ""
        if repair:
            os.rename(directory, data / "containers" / directory.name)
            atomic_file.sync_directory(data / "containers")
            done = "is a container again"
        yield Finding(f"container {record.config.name} is set aside and can be read", done)


def check_logs(data: Path, repair: bool) -> Iterator[Finding]:
    """Logs that end in half a block. The engine cuts that off too, when it next writes."""
    for directory in _directories(data / "containers"):
        for path in sorted((directory / "logs").glob("log*")):
            with open(path, "r+b" if repair else "rb") as stream:
                end = file.whole_end(stream.fileno())
                size = os.fstat(stream.fileno()).st_size
                if end == size:
                    continue
                done = ""
                if repair:
                    os.ftruncate(stream.fileno(), end)
                    done = "cut off"
            yield Finding(f"{path}: {size - end} bytes after the last whole block", done)


def check_leftovers(data: Path, repair: bool) -> Iterator[Finding]:
    """What an interrupted write or removal has left."""
    for path in sorted((data / "trash").glob("*")):
        yield _delete(path, repair, f"{path} is half removed")
    for place in (
        "containers/*",
        "volumes",
        "volumes/*",
        "networks",
        "store",
        "store/*",
        "build/*",
    ):
        for path in sorted(data.glob(f"{place}/{atomic_file.TEMPORARY_PREFIX}*")):
            yield _delete(path, repair, f"{path} is half written")


CHECKS: tuple[Check, ...] = (
    check_records,
    check_set_aside,
    check_logs,
    check_leftovers,
    check_store,
)


def _directories(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def _is_named(data: Path, name: str) -> bool:
    for directory in _directories(data / "containers"):
        try:
            if record_file.read(directory).config.name == name:
                return True
        except (OSError, OrlopError):
            continue
    return False


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(atomic_file.TEMPORARY_PREFIX)


def _delete(path: Path, repair: bool, problem: str) -> Finding:
    if not repair:
        return Finding(problem)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return Finding(problem, "deleted")


def _set_aside(data: Path, directory: Path, repair: bool, problem: str) -> Finding:
    if not repair:
        return Finding(problem)
    (data / "broken").mkdir(exist_ok=True, mode=0o700)
    os.rename(directory, data / "broken" / directory.name)
    atomic_file.sync_directory(data / "broken")
    return Finding(problem, f"set aside in {data / 'broken' / directory.name}")
