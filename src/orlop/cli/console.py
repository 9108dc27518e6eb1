"""`orlop console`: in which root file system sessions begin, at the console and over SSH."""

from __future__ import annotations

import os
import sys
import time

from orlop.cli.answers import Object, get_object, strings_of, text_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.text import columns
from orlop.lib.errors import Conflict, InvalidArgument, NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "console ls | switch [--file FILE] [NAME] | enable NAME | rm IMAGE"
OPTIONS = (
    Option("file", value="FILE", help="the image is in this archive"),
    Option("no-pull", help="only an image that is here already"),
    Option("force", "f", help="without effect: nothing is asked"),
    Option("json", help="as the engine's API gives it"),
)
WORDS = (0, 2)

DEFAULT, OWN = "default", "console"
CATALOGUE = "catalogue.internal"
SESSION = ("/bin/sh", "/run/orlop/base/usr/lib/orlop/guest/session")
SHELL = "/bin/sh"
MARK = "/run/orlop/etc/console"
NO_PROGRAM, AT_ONCE_S = (126, 127), 5.0
"""Statuses of a program that cannot run, and how soon a shell ends that is one: its C library is
half installed. Who ends a shell themselves with one of these gets another shell."""

PASSED_ON = ("TERM", "LANG", "COLORTERM", "ORLOP_FIRST_COMMAND")
"""Of the session's environment, and everything about SSH."""


def run(arguments: Arguments) -> int:
    match arguments.words:
        case [] | ["ls" | "list"]:
            _list(as_json=arguments.flag("json"))
        case ["switch" | "enable" as verb, *names]:
            _choose(verb, names, arguments)
        case ["rm", image]:
            remove("console", image, own=(DEFAULT, OWN))
        case ["enter"]:
            return enter(arguments.program)
        case words:
            raise UsageError(f"{' '.join(words)!r} is none of: orlop {USAGE}")
    return 0


def _list(*, as_json: bool) -> None:
    answer = get_object(Client(), "/orlop/console")
    print(encode(answer) if as_json else columns(("CONSOLE", "STATE", "WHY"), rows(answer)))


def rows(answer: Object, own: str = DEFAULT) -> list[tuple[str, str, str]]:
    """A line for each console that there is, or that is chosen although it is not there.

    The same for engines; *own* is what the system itself has.
    """
    current, enabled = text_of(answer, "name"), text_of(answer, "enabled")
    found = []
    for name in dict.fromkeys(map(shown, (own, *strings_of(answer, "images"), current, enabled))):
        state, why = "available", ""
        if name == shown(current):
            state, why = "current", text_of(answer, "reason")
            if text_of(answer, "state") not in ("running", "starting"):
                state = text_of(answer, "state")
            if name != shown(enabled):
                why = why or "until the next boot"
        elif name == shown(enabled):
            state, why = "enabled", "from the next boot on"
        found.append((name, state, why))
    return found


def shown(image: str) -> str:
    """What a person calls *image*."""
    if image.startswith(f"{CATALOGUE}/"):
        return image.removeprefix(f"{CATALOGUE}/").removesuffix(":latest")
    return image


def references(name: str) -> list[str]:
    """What the image of console *name* may be called."""
    is_word = not set(name) & set("/:@")
    return [name, *([f"{CATALOGUE}/{name}:latest"] if is_word else [])]


def _choose(verb: str, names: list[str], arguments: Arguments) -> None:
    name = choose("console", verb, names, arguments, own=(DEFAULT, OWN))
    when = "from the next boot on" if verb == "enable" else "from now on"
    print(f"sessions begin in {shown(name)} {when}")
    warn_volatile()


def choose(
    what: str, verb: str, names: list[str], arguments: Arguments, *, own: tuple[str, ...]
) -> str:
    """Bring the image that is named, and switch to it or *enable* it; its name.

    Raises:
        OrlopError: it cannot be.
    """
    file = arguments.value("file")
    if not names and not file:
        to = " to" if verb == "switch" else ""
        raise UsageError(f"{verb}{to} which {what}?", hint=f"orlop {what} ls")
    name = names[0] if names else ""
    if file:
        name = _load(file, name)
    elif name not in own:
        name = _find(name, may_pull=not arguments.flag("no-pull"))
    body = {"name": name, "only_enable": verb == "enable"}
    Client().post(f"/orlop/{what}/switch", body)
    return name


def warn_volatile() -> None:
    """Say that the choice is not kept, where it is not."""
    storage = get_object(Client(), "/orlop/status").get("storage")
    if not isinstance(storage, dict) or text_of(storage, "kind") != "disk":
        print("orlop: there is no state partition: the next boot knows nothing of it",
              file=sys.stderr)  # fmt: skip


def _load(file: str, name: str) -> str:
    """Bring the image in *file*, which may have several if *name* says which; its name."""
    from orlop.cli import images
    from orlop.cli.docker.files import blocks_of, open_file

    found = images.load(blocks_of(open_file(file)))
    if name:
        return name
    if len(found) != 1:
        raise InvalidArgument(
            f"{file} has {len(found)} images, not one",
            hint=f"switch --file {file} {found[0] if found else 'NAME'}",
        )
    return found[0]


def _find(name: str, *, may_pull: bool) -> str:
    """Let the system have the image of console *name*; what it is called there."""
    from orlop.cli import images

    if any(images.has(images.SYSTEM_SOCKET, reference) for reference in references(name)):
        return name
    if not may_pull and not images.has(images.USER_SOCKET, name):
        raise NotFound(f"no image {name} here", hint=f"docker pull {name}, or --file ARCHIVE")
    return images.bring_to_system(name)


def remove(what: str, image: str, *, own: tuple[str, ...]) -> None:
    """Delete *image* from the system's store.

    Raises:
        Conflict: it is the present one, or that of the next boot.
    """
    from orlop.cli import images
    from orlop.cli.docker.session import quote

    answer = get_object(Client(), f"/orlop/{what}")
    for key, when in (("name", "in use"), ("enabled", "enabled")):
        if image in own or shown(text_of(answer, key)) == shown(image):
            raise Conflict(f"{image} is {when}", hint=f"orlop {what} switch {own[0]}")
    known = [name for name in references(image) if images.has(images.SYSTEM_SOCKET, name)]
    Client().request("DELETE", f"/images/{quote((known or [image])[0])}").close()


def enter(program: list[str]) -> int:
    """Be a session in the chosen console: *program* are arguments of its shell.

    Where that cannot be, this process becomes the shell of the system's own console.
    """
    container = _chosen()
    if not container:
        return _own_shell(program)
    from orlop.cli.exec_command import start

    client = Client()
    terminal = os.isatty(0)
    try:
        session = start(client, container, session_request(program, terminal=terminal))
    except OrlopError as error:
        reason = error.message
    else:
        session.end_with_terminal()
        begun_s = time.monotonic()
        status = session.run(interactive=True, terminal=terminal)
        soon = time.monotonic() - begun_s < AT_ONCE_S
        broken = terminal and not program and status in NO_PROGRAM and soon
        if session.was_running and not broken:
            return status
        reason = f"its shell ended with status {status}" if broken else "it has no shell"
    print(
        f"orlop: the chosen console cannot be used ({reason}); this is the default one",
        file=sys.stderr,
    )
    try:
        client.post("/orlop/console/failed", {"reason": reason})
    except OrlopError:
        pass  # it will be seen by whoever looks at the service
    return _own_shell(program)


def session_request(program: list[str], *, terminal: bool) -> Object:
    """The body that asks the engine for a session."""
    environment = [
        f"{name}={value}"
        for name, value in os.environ.items()
        if name in PASSED_ON or name.startswith("SSH_")
    ]
    return {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": terminal,
        "Cmd": [*SESSION, *program],
        "Env": environment,
    }


def _chosen() -> str:
    try:
        with open(MARK, encoding="utf-8") as stream:
            return stream.read(64).strip()
    except OSError:
        return ""


def _own_shell(program: list[str]) -> int:
    os.execv(SHELL, [SHELL, *(program or ["-l"])])
