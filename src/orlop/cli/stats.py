"""`orlop stats`: what each container uses."""

from __future__ import annotations

import time

from orlop.cli.answers import Object, get_object, get_objects, number_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client, quote
from orlop.cli.commands import MANY
from orlop.cli.json_text import encode
from orlop.cli.ps import name_of
from orlop.cli.text import columns, size
from orlop.lib.errors import Conflict, NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "stats [--follow] [--json] [NAME...]"
OPTIONS = (
    Option("follow", "f", help="again every two seconds"),
    Option("json", help="as the engine's API gives it"),
)
WORDS = (0, MANY)
COMPLETES = "containers"

INTERVAL_S = 1.0
"""Between the two samples a share of the processor is computed from."""
PAUSE_S = 1.0
HEADER = ("NAME", "CPU %", "MEMORY", "LIMIT", "PROCESSES", "READ", "WRITTEN")
UNLIMITED_BYTES = 1 << 50
"""A limit above this is the kernel's way to say that there is none."""


def run(arguments: Arguments) -> int:
    client = Client()
    names = arguments.words or sorted(map(name_of, get_objects(client, "/containers/json")))
    # Whoever is named has to be there; of all that are, some may have gone meanwhile.
    before = sample(client, names, (Conflict,) if arguments.words else (Conflict, NotFound))
    while True:
        time.sleep(INTERVAL_S)
        after = sample(client, names)
        if arguments.flag("json"):
            print(encode(after))
        else:
            rows = [row(name, before.get(name, {}), now) for name, now in after.items()]
            print(("\x1b[H\x1b[J" if arguments.flag("follow") else "") + columns(HEADER, rows))
        if not arguments.flag("follow"):
            return 0
        before = after
        time.sleep(PAUSE_S)


def sample(
    client: Client, names: list[str], gone: tuple[type[OrlopError], ...] = (Conflict, NotFound)
) -> dict[str, Object]:
    """The engine's figures of each container that still runs; those whose error is *gone* do not.

    Raises:
        OrlopError: any other error.
    """
    found = {}
    for name in names:
        try:
            found[name] = get_object(client, f"/containers/{quote(name)}/stats?stream=0&one-shot=1")
        except gone:
            continue
    return found


def row(name: str, before: Object, now: Object) -> tuple[str, ...]:
    """The line of a container, from two samples of it."""
    limit = number_of(now, "memory_stats", "limit")
    read, written = transferred(now)
    return (
        name,
        f"{cpu_percent(before, now):.1f}",
        size(number_of(now, "memory_stats", "usage")),
        size(limit) if 0 < limit < UNLIMITED_BYTES else "-",
        f"{number_of(now, 'pids_stats', 'current'):.0f}",
        size(read),
        size(written),
    )


def cpu_percent(before: Object, now: Object) -> float:
    """How much of one processor was used between two samples, as Docker counts it: 200 is two."""
    usage = "cpu_stats", "cpu_usage", "total_usage"
    system = "cpu_stats", "system_cpu_usage"
    used_ns = number_of(now, *usage) - number_of(before, *usage)
    passed_ns = number_of(now, *system) - number_of(before, *system)
    cpus = number_of(now, "cpu_stats", "online_cpus") or 1
    return max(used_ns / passed_ns * cpus * 100, 0.0) if passed_ns > 0 and before else 0.0


def transferred(now: Object) -> tuple[float, float]:
    """Bytes read from and written to block devices."""
    stats = now.get("blkio_stats")
    entries = stats.get("io_service_bytes_recursive") if isinstance(stats, dict) else None
    totals = {"read": 0.0, "write": 0.0}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            kind = str(entry.get("op", "")).lower()
            totals[kind] = totals.get(kind, 0.0) + number_of(entry, "value")
    return totals["read"], totals["write"]
