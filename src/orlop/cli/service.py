"""`orlop service`: the system's services, as the supervisor sees them."""

from __future__ import annotations

import time

from orlop.cli.answers import Object, get_object, get_objects, number_of, strings_of, text_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.commands import MANY
from orlop.cli.json_text import encode
from orlop.cli.text import columns, duration, printable
from orlop.lib.errors import NotModified

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "service ls | inspect NAME | why NAME | start|stop|restart NAME..."
OPTIONS = (Option("json", help="as the engine's API gives it"),)
WORDS = (0, MANY)
VERBS = {
    "ls": "services with their state, and why one does not run",
    "why": "NAME: why it is in its state, and what it needs",
    "inspect": "NAME: with its definition, as JSON",
    "start": "NAME...",
    "stop": "NAME...: it stays stopped until the next boot",
    "restart": "NAME...",
}
COMPLETES = "services"

ACTIONS = ("start", "stop", "restart")
HEADER = ("SERVICE", "STATE", "HEALTH", "SINCE", "RESTARTS", "WHY")
LOG_LINES = 5


def run(arguments: Arguments) -> int:
    client = Client()
    match arguments.words:
        case [] | ["ls" | "list"]:
            _list(client, as_json=arguments.flag("json"))
        case [verb, *names] if verb in ACTIONS and names:
            for name in names:
                _act(client, name, verb)
        case ["inspect", name]:
            print(encode(get_object(client, f"/orlop/services/{name}")))
        case ["why", name]:
            answer = get_object(client, f"/orlop/services/{name}")
            print(encode(answer) if arguments.flag("json") else explain(client, answer))
        case [verb] if verb in (*ACTIONS, "inspect", "why"):
            raise UsageError(f"{verb} which service?", hint="orlop service ls")
        case [verb, *_]:
            raise UsageError(f"{verb!r} is nothing that can be done with a service")
    return 0


def _act(client: Client, name: str, verb: str) -> None:
    try:
        client.post(f"/orlop/services/{name}/{verb}")
    except NotModified:
        pass  # it is so already: what was asked for is the case


def _list(client: Client, *, as_json: bool) -> None:
    services = get_objects(client, "/orlop/services")
    print(encode(services) if as_json else columns(HEADER, map(row, services)))


def row(service: Object) -> tuple[str, ...]:
    """A service as the cells of its line."""
    return (
        text_of(service, "name"),
        text_of(service, "state"),
        text_of(service, "health") or "-",
        since(service),
        f"{number_of(service, 'restarts'):.0f}",
        text_of(service, "reason"),
    )


def since(service: Object) -> str:
    """For how long the service runs; `-` if it does not."""
    started_at = number_of(service, "started_at")
    if not started_at or text_of(service, "state") != "running":
        return "-"
    # The clock may have been set since: nothing runs for longer than the machine.
    running_s = max(time.time() - started_at, 0)
    return duration(min(running_s, time.clock_gettime(time.CLOCK_BOOTTIME)))


def explain(client: Client, service: Object) -> str:
    """Why the service is in its state: its reason, what it waits for, where its last words are."""
    name, state = text_of(service, "name"), text_of(service, "state")
    reason = text_of(service, "reason")
    lines = [f"{name} is {state}" + (f": {printable(reason)}" if reason else "")]
    if service.get("restarts"):
        lines.append(f"  restarted {text_of(service, 'restarts')} times")
    if number_of(service, "memory_events", "oom_kill"):
        lines.append("  it has reached its memory limit, and the kernel ended a process of it")
    lines.append(f"  defined by {printable(text_of(service, 'source')) or 'the image'}")
    others = strings_of(service, "depends_on")
    if others:
        states = {
            text_of(other, "name"): text_of(other, "state")
            for other in get_objects(client, "/orlop/services")
        }
        lines += [f"  needs {other}, which is {states.get(other, 'unknown')}" for other in others]
    if state not in ("running", "skipped", "disabled"):
        lines.append(f"  what it said last: orlop logs --tail {LOG_LINES} {name}")
    return "\n".join(lines)
