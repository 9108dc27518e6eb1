"""The processes of a container in the columns of ps(1), read from /proc.

There is no ps beside PID 1, and docker's clients print whatever columns they get. `-ef` (the
default), `aux` and `-o NAME,…` with the columns below are understood.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib import cgroup
from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_PROCESSES = 4096
MAX_COMMAND_BYTES = 4096
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class Process:
    """What the columns are made of."""

    pid: int
    ppid: int
    uid: int
    state: str
    tty: int
    cpu_s: float
    started_s: float
    """Seconds since the Unix epoch."""
    now_s: float
    rss_kib: int
    vsz_kib: int
    nice: int
    threads: int
    name: str
    command: str


def _cpu_percent(process: Process) -> float:
    return 100 * process.cpu_s / max(process.now_s - process.started_s, 0.01)


def _start(process: Process) -> str:
    young = process.now_s - process.started_s < 86_400
    return time.strftime("%H:%M" if young else "%b%d", time.gmtime(process.started_s))


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _elapsed(process: Process) -> str:
    seconds = int(process.now_s - process.started_s)
    days, rest = divmod(max(seconds, 0), 86_400)
    if days:
        return f"{days}-{_clock(rest)}"
    return _clock(rest) if rest >= 3600 else f"{rest // 60:02d}:{rest % 60:02d}"


def _tty(process: Process) -> str:
    if process.tty == 0:
        return "?"
    major, minor = process.tty >> 8 & 0xFFF, process.tty & 0xFF | process.tty >> 12 & 0xFFF00
    if 136 <= major <= 143:
        return f"pts/{(major - 136) * 256 + minor}"
    return f"ttyS{minor - 64}" if major == 4 and minor >= 64 else f"tty{minor}"


def _user(process: Process) -> str:
    return "root" if process.uid == 0 else str(process.uid)


COLUMNS: dict[str, tuple[str, Callable[[Process], str]]] = {
    "pid": ("PID", lambda p: str(p.pid)),
    "ppid": ("PPID", lambda p: str(p.ppid)),
    "uid": ("UID", lambda p: str(p.uid)),
    "user": ("USER", _user),
    "c": ("C", lambda p: str(int(_cpu_percent(p)))),
    "pcpu": ("%CPU", lambda p: f"{_cpu_percent(p):.1f}"),
    "%cpu": ("%CPU", lambda p: f"{_cpu_percent(p):.1f}"),
    "stime": ("STIME", _start),
    "start": ("START", _start),
    "tty": ("TTY", _tty),
    "tt": ("TT", _tty),
    "time": ("TIME", lambda p: _clock(p.cpu_s)),
    "etime": ("ELAPSED", _elapsed),
    "stat": ("STAT", lambda p: p.state),
    "state": ("S", lambda p: p.state),
    "s": ("S", lambda p: p.state),
    "rss": ("RSS", lambda p: str(p.rss_kib)),
    "vsz": ("VSZ", lambda p: str(p.vsz_kib)),
    "ni": ("NI", lambda p: str(p.nice)),
    "nlwp": ("NLWP", lambda p: str(p.threads)),
    "comm": ("COMMAND", lambda p: p.name),
    "cmd": ("CMD", lambda p: p.command),
    "args": ("COMMAND", lambda p: p.command),
    "command": ("COMMAND", lambda p: p.command),
}
_FULL = ("uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd")
_BSD = ("user", "pid", "%cpu", "vsz", "rss", "tty", "stat", "start", "time", "command")


def parse_arguments(text: str) -> tuple[str, ...]:
    """The columns that ps arguments ask for.

    Raises:
        InvalidArgument: others than the ones understood here.
    """
    words = text.replace(",", " ").split() or ["-ef"]
    if words in (["-ef"], ["-f"], ["-e", "-f"], ["ef"]):
        return _FULL
    if words in (["aux"], ["-aux"], ["u"], ["auxww"]):
        return _BSD
    if words[0] == "-e":
        words = words[1:]
    names: list[str] = []
    for word in words:
        if word in ("-o", "-eo"):
            continue
        names.append(word.removeprefix("-eo").removeprefix("-o").lower())
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or not names:
        raise InvalidArgument(
            f"ps arguments {text[:80]!r} are not supported",
            hint=f"use -ef, aux, or -o with some of {', '.join(COLUMNS)}",
        )
    return tuple(names)


def list_processes(directory: Path, columns: tuple[str, ...]) -> tuple[list[str], list[list[str]]]:
    """Titles, and a row for each process in cgroup *directory* that still is there to be read."""
    boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    rows = []
    for pid in sorted(cgroup.processes(directory))[:MAX_PROCESSES]:
        process = read_process(pid, boot_s)
        if process is not None:
            rows.append([COLUMNS[name][1](process) for name in columns])
    return [COLUMNS[name][0] for name in columns], rows


def read_process(pid: int, boot_s: float) -> Process | None:
    """What /proc says about *pid*; None when it has gone."""
    base = f"/proc/{pid}"
    try:
        with open(f"{base}/stat", "rb") as stream:
            text = stream.read(4096)
        with open(f"{base}/cmdline", "rb") as stream:
            command = stream.read(MAX_COMMAND_BYTES)
        uid = os.stat(base).st_uid
    except OSError:
        return None
    name_end = text.rfind(b")")
    name = text[text.find(b"(") + 1 : name_end].decode(errors="replace")
    fields = text[name_end + 1 :].split()
    shown = command.rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return Process(
        pid=pid,
        ppid=int(fields[1]),
        uid=uid,
        state=fields[0].decode(),
        tty=int(fields[4]),
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
        started_s=boot_s + int(fields[19]) / _TICKS,
        now_s=time.time(),
        rss_kib=int(fields[21]) * _PAGE_KIB,
        vsz_kib=int(fields[20]) // 1024,
        nice=int(fields[16]),
        threads=int(fields[17]),
        name=name,
        command=shown or f"[{name}]",
    )
