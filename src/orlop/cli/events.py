"""`orlop events`: what happens to containers, images, networks and volumes, in both engines."""

from __future__ import annotations

import time

from orlop.cli.answers import Object, member, number_of, text_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.json_text import compact, decode
from orlop.cli.text import printable
from orlop.lib.errors import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orlop.cli.arguments import Arguments

USAGE = "events [OPTION...]"
OPTIONS = (
    Option("follow", "f", help="go on with what happens from now on"),
    Option("since", value="TIME", help="from a time, or for so long: 2026-01-31T12:00:00Z, 10m"),
    Option("until", value="TIME", help="up to a time, or to so long ago"),
    Option("filter", value="KEY=VALUE", help="as docker events: type=image, event=die"),
    Option("system", help="those of the system's engine only"),
    Option("user", help="those of the user's engine only"),
    Option("json", help="an object for each event"),
)
WORDS = (0, 0)
MORE = """\
Each engine remembers its last 256 events. --filter may be given several times.

The members of --json are time (RFC 3339), engine (system or user), type,
action, id, and attributes."""

USER_SOCKET = "/run/orlop/docker/docker.sock"


def run(arguments: Arguments) -> int:
    engines = {"system": Client(), "user": Client(USER_SOCKET)}
    chosen = [name for name in engines if arguments.flag(name)] or [*engines]
    path = target(arguments)
    write = _write_json if arguments.flag("json") else _write_line
    if arguments.flag("follow"):
        _follow([(name, engines[name]) for name in chosen], path, write)
        return 0
    found = []
    for name in chosen:
        try:
            found += [event_of(name, value) for value in read(engines[name], path)]
        except Unavailable:
            if chosen == [name]:
                raise  # of two engines the user's may be switched off
    for event in sorted(found, key=lambda event: text_of(event, "time")):
        write(event)
    return 0


def target(arguments: Arguments) -> str:
    """Where the API has the events that are asked for."""
    from urllib.parse import quote

    filters: dict[str, list[str]] = {}
    for word in arguments.every("filter"):
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--filter wants KEY=VALUE, not {word!r}")
        filters.setdefault(key, []).append(value)
    since_s, until_s = (_moment(arguments, name) for name in ("since", "until"))
    query = []
    if since_s is not None or not arguments.flag("follow"):
        query.append(f"since={since_s or 1:.9f}")
    if until_s is not None or not arguments.flag("follow"):
        query.append(f"until={until_s or time.time():.9f}")
    if filters:
        query.append(f"filters={quote(compact(filters))}")
    return "/events" + (f"?{'&'.join(query)}" if query else "")


def _moment(arguments: Arguments, name: str) -> float | None:
    if not arguments.flag(name):
        return None
    from orlop.cli.moment import parse_moment

    return parse_moment(arguments.value(name))


def read(client: Client, path: str) -> Iterator[Object]:
    """The engine's own events, as they come."""
    rest = b""
    for part in client.request("GET", path).parts():
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            value = decode(line) if line.strip() else None
            if isinstance(value, dict):
                yield value


def event_of(engine: str, value: Object) -> Object:
    """The stable form of what the API of *engine* says."""
    nanoseconds = int(number_of(value, "timeNano"))
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9))
    return {
        "time": f"{whole}.{nanoseconds % 10**9:09d}Z",
        "engine": engine,
        "type": text_of(value, "Type"),
        "action": text_of(value, "Action"),
        "id": member(value, "Actor", "ID") or "",
        "attributes": member(value, "Actor", "Attributes") or {},
    }


def line_of(event: Object) -> str:
    """An event for people: what it happened to by name, and what else is known of it."""
    attributes = event["attributes"] if isinstance(event["attributes"], dict) else {}
    name = attributes.get("name") or str(event["id"])[:12]
    rest = ", ".join(f"{key}={value}" for key, value in sorted(attributes.items()) if key != "name")
    head = " ".join(str(event[key]) for key in ("time", "engine", "type", "action"))
    return printable(f"{head} {name}" + (f" ({rest})" if rest else ""))


def _write_json(event: Object) -> None:
    print(compact(event), flush=True)


def _write_line(event: Object) -> None:
    print(line_of(event), flush=True)


def _follow(engines: list[tuple[str, Client]], path: str, write: Callable[[Object], None]) -> None:
    """Until both engines end, or a time comes."""
    import threading

    failures: list[Exception] = []

    def work(name: str, client: Client) -> None:
        try:
            for value in read(client, path):
                write(event_of(name, value))
        except Exception as error:  # noqa: BLE001 - handed to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(failures) == len(engines):
        raise failures[0]
