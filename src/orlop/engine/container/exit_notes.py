"""How a container ended while another process than its engine was its parent.

The inits of a killed engine's containers become the children of the next subreaper above it. On
the machine that is PID 1: it learns how they end, and has to tell the next engine, which may not
be there yet. Whoever reaps offers a directory; an engine that finds it at `exits` in its run
directory asks about each init by a file named PID-TICKS, where ticks are when the process began.
Before the reaper takes such a process away it writes the status into that file. So there is one
small file for each running container and none for what nobody asked about.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.lib.children import ExitStatus

if TYPE_CHECKING:
    from collections.abc import Container

DIRECTORY = "exits"

_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# As long as any status: when that is written, the memory for it is there already.
_OPEN_QUESTION = b"?" * 15 + b"\n"


def ask(run_dir: str | os.PathLike[str], pid: int, ticks: int) -> None:
    """Ask for the status of process *pid*; what has been answered stays. Nobody may be there to.

    Raises:
        OSError: no space left, and the like.
    """
    try:
        descriptor = os.open(
            _path(run_dir, pid, ticks), os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600
        )
    except (FileNotFoundError, FileExistsError):
        return
    try:
        os.write(descriptor, _OPEN_QUESTION)
    finally:
        os.close(descriptor)


def answer(run_dir: str | os.PathLike[str], pid: int, ticks: int, status: ExitStatus) -> None:
    """Write down how *pid* has ended, if somebody asked; before it is reaped.

    Raises:
        OSError: it cannot be written.
    """
    try:
        descriptor = os.open(_path(run_dir, pid, ticks), os.O_WRONLY | _FLAGS)
    except FileNotFoundError:
        return
    try:
        os.write(descriptor, b"%d %d\n" % (status.code, status.signal))
    finally:
        os.close(descriptor)


def read(run_dir: str | os.PathLike[str], pid: int, ticks: int) -> ExitStatus | None:
    """How *pid* ended; None if nobody was asked, or nobody has answered."""
    try:
        descriptor = os.open(_path(run_dir, pid, ticks), os.O_RDONLY | _FLAGS)
    except OSError:
        return None
    try:
        line = os.read(descriptor, len(_OPEN_QUESTION)).partition(b"\n")[0]
    finally:
        os.close(descriptor)
    words = line.split()
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None
    return ExitStatus(int(words[0]), int(words[1]))


def forget(run_dir: str | os.PathLike[str], pid: int, ticks: int) -> None:
    """Take the question back; what is known is stored elsewhere by now."""
    try:
        os.unlink(_path(run_dir, pid, ticks))
    except OSError:
        pass


def forget_others(run_dir: str | os.PathLike[str], wanted: Container[tuple[int, int]]) -> None:
    """Take back all questions but those for the *wanted* processes and their ticks."""
    try:
        names = os.listdir(os.path.join(run_dir, DIRECTORY))
    except OSError:
        return
    for name in names:
        pid, _, ticks = name.partition("-")
        if pid.isdecimal() and ticks.isdecimal() and (int(pid), int(ticks)) not in wanted:
            forget(run_dir, int(pid), int(ticks))


def _path(run_dir: str | os.PathLike[str], pid: int, ticks: int) -> str:
    return os.path.join(run_dir, DIRECTORY, f"{pid}-{ticks}")
