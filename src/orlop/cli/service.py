"""`orlop service`: the system's services, as the supervisor sees them, and those one adds."""

from __future__ import annotations

import time

from orlop.cli.answers import Object, get_object, get_objects, number_of, strings_of, text_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client, quote
from orlop.cli.commands import MANY
from orlop.cli.json_text import encode
from orlop.cli.text import columns, duration, printable
from orlop.lib.errors import NotModified, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "service [VERB] [NAME|SOURCE]..."
OPTIONS = (
    Option("json", help="as the engine's API gives it"),
    Option("all", "a", help="for ls: what the catalogue has, too"),
    Option("enable", help="for add: start it, now and at each boot"),
    Option("digest", value="SHA256", help="what a URL or artifact must have"),
    Option("catalogue", value="PLACE", help="URL or directory of another catalogue"),
    Option("follow", "f", help="for logs: go on with what is written"),
    Option("tail", "n", value="N", help="for logs: the last N lines"),
    Option("signal", "s", value="NAME", help="for kill: another signal than KILL"),
)
WORDS = (0, MANY)
VERBS = {
    "ls": "services with their state; --all: with what the catalogue offers",
    "ps": "those that run",
    "add": "SOURCE...: check and keep services, with their images",
    "enable": "NAME|SOURCE...: start, now and at each boot",
    "up": "NAME|SOURCE...: start, until the next boot",
    "disable": "NAME...: stop, and do not start at the next boot either",
    "rm": "NAME...: stop and forget, with file and images",
    "pull": "NAME...: fetch the image anew; what runs is restarted",
    "start": "NAME...",
    "stop": "NAME...: it stays stopped until the next boot",
    "restart": "NAME...",
    "kill": "NAME...: send a signal",
    "logs": "NAME: what it has written",
    "inspect": "NAME: with its definition, as JSON",
    "why": "NAME: what it waits for or why it ended, and its last lines",
}
MORE = """\
A SOURCE is a Compose file (- is stdin), https://.../FILE[@sha256:...], an
artifact or image in a registry (HOST/NAME:TAG), or a name in the catalogue."""
COMPLETES = "services"

ACTIONS = ("start", "stop", "restart", "kill")
ADDING = ("add", "up", "enable", "disable", "rm", "pull")
ALIASES = {"list": "ls", "delete": "rm", "remove": "rm", "down": "stop", "log": "logs"}
INSTEAD = {
    "build": "docker build and docker push elsewhere, then orlop service add FILE",
    "create": "orlop service add FILE makes it ready, orlop service up FILE starts it too",
    "run": "orlop service up FILE, or docker run for a container of your own",
    "exec": "orlop exec NAME COMMAND",
    "scale": "a service has one container",
}
HEADER = ("SERVICE", "STATE", "BOOT", "HEALTH", "SINCE", "RESTARTS", "WHY")
LOG_LINES = 10
UP = ("running", "starting")


def run(arguments: Arguments) -> int:
    client = Client()
    words = [ALIASES.get(word, word) if n == 0 else word for n, word in enumerate(arguments.words)]
    match words:
        case [] | ["ls"]:
            _list(client, arguments)
        case ["ps"]:
            _list(client, arguments, only=UP)
        case ["logs", name]:
            from orlop.cli import logs

            arguments.words = [name]
            return logs.run(arguments)
        case [verb, name] if verb in ("inspect", "why"):
            _tell(client, name, arguments, why=verb == "why")
        case [verb, *names] if names and verb in (*ACTIONS, *ADDING):
            _change(client, verb, names, arguments)
        case [verb, *_]:
            raise _wrong(verb)
    return 0


def _tell(client: Client, name: str, arguments: Arguments, *, why: bool) -> None:
    answer = get_object(client, f"/orlop/services/{quote(name)}")
    if why and not arguments.flag("json"):
        print(explain(client, answer))
    else:
        print(encode({**answer, "log": last_lines(client, name)} if why else answer))


def _change(client: Client, verb: str, names: list[str], arguments: Arguments) -> None:
    if verb in ADDING:
        from orlop.cli import service_add

        service_add.run(client, verb, names, arguments)
        return
    query = f"?signal={quote(arguments.value('signal', 'SIGKILL'))}" if verb == "kill" else ""
    for name in names:
        try:
            client.post(f"/orlop/services/{quote(name)}/{verb}{query}")
        except NotModified:
            pass  # it is so already: what was asked for is the case
    if arguments.flag("json"):
        print(encode([get_object(client, f"/orlop/services/{name}") for name in names]))


def _wrong(verb: str) -> UsageError:
    if verb in INSTEAD:
        return UsageError(f"there is no {verb}", hint=INSTEAD[verb])
    if verb in (*ACTIONS, *ADDING, "inspect", "why", "logs"):
        return UsageError(f"{verb} which service?", hint="orlop service ls")
    text = f"{verb!r} is nothing that can be done with a service"
    return UsageError(text, hint="orlop service --help")


def _list(client: Client, arguments: Arguments, only: tuple[str, ...] = ()) -> None:
    services = get_objects(client, "/orlop/services")
    if only:
        services = [service for service in services if text_of(service, "state") in only]
    if arguments.flag("all"):
        from orlop.cli import service_add

        there = {text_of(service, "name") for service in services}
        services += service_add.offered(client, arguments.value("catalogue"), there)
    print(encode(services) if arguments.flag("json") else columns(HEADER, map(row, services)))


def row(service: Object) -> tuple[str, ...]:
    """A service as the cells of its line."""
    enabled = service.get("enabled")
    return (
        text_of(service, "name"),
        text_of(service, "state"),
        "-" if enabled is None else "yes" if enabled else "no",
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
    """Why the service is in its state: its reason, what it waits for, its last words."""
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
        said = last_lines(client, name)
        lines += [f"  it said last (orlop logs {name}):"] if said else []
        lines += [f"    {printable(line)}" for line in said]
    return "\n".join(lines)


def last_lines(client: Client, name: str) -> list[str]:
    """What the container of service *name* has written last; nothing if it has none."""
    from orlop.wire.stdcopy_frames import take

    query = f"stdout=1&stderr=1&tail={LOG_LINES}"
    try:
        response = client.request("GET", f"/containers/{quote(name)}/logs?{query}")
        is_raw = response.headers.get("content-type") == "application/vnd.docker.raw-stream"
        data = response.read()
    except OrlopError:
        return []  # it has never been started
    if not is_raw:
        data = b"".join(payload for _, payload in take(bytearray(data)))
    return data.decode(errors="replace").splitlines()[-LOG_LINES:]
