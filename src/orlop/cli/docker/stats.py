"""`docker stats`."""

from __future__ import annotations

import threading
import time

from orlop.cli.docker import human
from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import BOOL, MANY, STRING, Flag
from orlop.cli.docker.listing import Row, listing, write
from orlop.cli.docker.ps import FORMAT_HELP
from orlop.cli.docker.session import as_object, as_objects, lines_of, query, quote, say_failed
from orlop.cli.json_text import decode
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

FLAGS = (
    Flag("all", "a", BOOL, "also those that do not run"),
    Flag("format", "", STRING, FORMAT_HELP),
    Flag("no-stream", "", BOOL, "once"),
    Flag("no-trunc", "", BOOL, "show all of each value"),
)
PAUSE_S = 0.5
CLEAR = "\x1b[2J\x1b[H"
DEFAULT = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
NONE = "--"


class Watch:
    """One container, watched by a thread of its own: its last sample, and how it ended."""

    def __init__(self, session: Session, name: str, *, stream: bool) -> None:
        self.name = name
        self.sample: Object = {}
        self.error: str | None = None
        self.has_ended = False
        self._session = session
        self._stream = stream
        self.first = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            target = f"/containers/{quote(self.name)}/stats{query(stream=str(int(self._stream)))}"
            for line in lines_of(self._session.request("GET", target)):
                value = decode(line)
                if isinstance(value, dict):
                    self.sample = value
                    self.first.set()
        except OrlopError as error:
            self.error = error.message
        except OSError as error:
            self.error = str(error)
        finally:
            self.has_ended = True
            self.first.set()


def run(session: Session, values: Values) -> int:
    names, stream = values.words, not values.flag("no-stream")
    form = values.text("format") or session.config_text("statsFormat")
    if not names:
        running = session.get_objects("/containers/json" + query(all=values.flag("all")))
        names = [str(each.get("Id", ""))[: human.SHORT_ID] for each in running]
    watches = [Watch(session, name, stream=stream) for name in names]
    for watch in watches:
        watch.first.wait()
    failed = [watch.error for watch in watches if watch.error]
    if failed:
        return say_failed(failed)
    while True:
        rows = [
            Row(
                {**watch.sample, "container": watch.name},
                FIELDS,
                "container.statsContext",
                trunc=not values.flag("no-trunc"),
            )
            for watch in watches
            if watch.sample and not (stream and watch.has_ended)
        ]
        if stream:
            write(CLEAR)
        listing(rows, FIELDS, form, DEFAULT)
        if not stream:
            return 0
        if watches and all(watch.has_ended for watch in watches):
            return 0
        import sys

        sys.stdout.flush()
        time.sleep(PAUSE_S)


def _number(row: Row, *path: str) -> float:
    value: object = row.data
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, int | float) else 0


def cpu_percent(row: Row) -> float:
    """The share of one processor between the two samples of *row*."""
    used = _number(row, "cpu_stats", "cpu_usage", "total_usage") - _number(
        row, "precpu_stats", "cpu_usage", "total_usage"
    )
    passed = _number(row, "cpu_stats", "system_cpu_usage") - _number(
        row, "precpu_stats", "system_cpu_usage"
    )
    count = _number(row, "cpu_stats", "online_cpus") or 1
    return used / passed * count * 100 if used > 0 and passed > 0 else 0.0


def memory_used(row: Row) -> float:
    """Memory without what the kernel would give back at once."""
    usage = _number(row, "memory_stats", "usage")
    for key in ("total_inactive_file", "inactive_file"):
        cached = _number(row, "memory_stats", "stats", key)
        if cached and cached < usage:
            return usage - cached
    return usage


def _memory_percent(row: Row) -> float:
    limit = _number(row, "memory_stats", "limit")
    return memory_used(row) / limit * 100 if limit else 0.0


def _network(row: Row) -> str:
    received = sent = 0.0
    for each in as_object(row.data.get("networks") or {}).values():
        figures = as_object(each)
        received += float(str(figures.get("rx_bytes", 0)))
        sent += float(str(figures.get("tx_bytes", 0)))
    return f"{human.decimal_size(received, 3)} / {human.decimal_size(sent, 3)}"


def _blocks(row: Row) -> str:
    sums = {"r": 0.0, "w": 0.0}
    entries = as_object(row.data.get("blkio_stats") or {}).get("io_service_bytes_recursive")
    for entry in as_objects(entries):
        kind = str(entry.get("op", "")).lower()[:1]
        if kind in sums:
            sums[kind] += float(str(entry.get("value", 0)))
    return f"{human.decimal_size(sums['r'], 3)} / {human.decimal_size(sums['w'], 3)}"


def _memory(row: Row) -> str:
    limit = _number(row, "memory_stats", "limit")
    return f"{human.binary_size(memory_used(row))} / {human.binary_size(limit)}"


def _id(row: Row) -> str:
    identifier = str(row.data.get("id", ""))
    return identifier[: human.SHORT_ID] if row.trunc else identifier


FIELDS = {
    "Container": ("CONTAINER", lambda row: str(row.data["container"])),
    "Name": ("NAME", lambda row: str(row.data.get("name", "")).removeprefix("/") or NONE),
    "ID": ("CONTAINER ID", _id),
    "CPUPerc": ("CPU %", lambda row: f"{cpu_percent(row):.2f}%"),
    "MemUsage": ("MEM USAGE / LIMIT", _memory),
    "MemPerc": ("MEM %", lambda row: f"{_memory_percent(row):.2f}%"),
    "NetIO": ("NET I/O", _network),
    "BlockIO": ("BLOCK I/O", _blocks),
    "PIDs": ("PIDS", lambda row: f"{_number(row, 'pids_stats', 'current'):.0f}"),
}

COMMANDS = {"stats": Command(run, "[OPTIONS] [CONTAINER...]", FLAGS, words=(0, MANY))}
