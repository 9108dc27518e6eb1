"""`orlop config`: what this machine is told to be, from which sources, and changes of it."""

from __future__ import annotations

import sys

from orlop.cli.answers import Object, get_object, strings_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.text import printable
from orlop.lib.errors import Internal, InvalidArgument, NotFound
from orlop.wire.config.yaml_text import yaml_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.cli.arguments import Arguments

USAGE = "config VERB ..."
VERBS = {
    "show": "all that is configured, without secrets",
    "export": "the same as a document",
    "get": "KEY: one value",
    "explain": "[KEY]: what it is, and where it is from",
    "set": "KEY VALUE: change one value; KEY+ adds to a list",
    "unset": "KEY: take a value away",
    "merge": "[FILE]: add a document",
    "apply": "FILE: have a document instead",
    "edit": "the document, in an editor",
    "validate": "FILE: whether a document is right",
    "diff": "[N [M]]: between versions; FILE: what applying it changes",
    "versions": "what was before",
    "rollback": "[N]: go back to a version",
    "confirm": "keep what is on trial",
    "reload": "read all sources again",
    "generate": "all keys as a document",
    "schema": "all keys as JSON Schema",
}
OPTIONS = (
    Option("json", help="as JSON"),
    Option("dry-run", "n", help="say what would change, and change nothing"),
    Option("confirm", value="TIME", help="back after TIME (120s) without `config confirm`"),
    Option("private", "p", help="with secrets: show, export, get"),
)
WORDS = (1, 3)
COMPLETES = "keys"

_CHANGES = frozenset({"set", "unset", "merge", "apply", "edit", "rollback", "confirm", "diff"})


def run(arguments: Arguments) -> int:
    verb, *words = arguments.words
    if verb in _CHANGES:
        from orlop.cli import config_change

        return config_change.run(verb, words, arguments)
    if verb not in _VERBS:
        raise UsageError(f"{verb!r} is nothing that config can do")
    work, least, most = _VERBS[verb]
    if not least <= len(words) <= most:
        raise wrong_words(verb)
    return work(arguments, *words)


def wrong_words(verb: str) -> UsageError:
    """The error about too many or too few words behind *verb*, which says what belongs there."""
    form, colon, _ = VERBS[verb].partition(":")
    return UsageError(f"config {verb} takes {form if colon else 'no more words'}")


def _show(arguments: Arguments) -> int:
    verb = arguments.words[0]
    secrets = "show" if arguments.flag("private") else "omit" if verb == "export" else "hide"
    answer = get_object(Client(), f"/orlop/config?secrets={secrets}")
    if arguments.flag("json"):
        print(encode(answer.get("config") if verb == "export" else answer))
    else:
        if verb == "export":
            print("#cloud-config")
        print("\n".join(yaml_lines(answer.get("config"))))
    return _report_problems(strings_of(answer, "problems"))


def _reload(arguments: Arguments) -> int:
    answer = Client().post("/orlop/config/reload")
    if not isinstance(answer, dict):
        raise Internal("the engine's answer is no object")
    if arguments.flag("json"):
        print(encode(answer))
    else:
        print("changed: " + (", ".join(strings_of(answer, "changed")) or "nothing"))
    return _report_problems(strings_of(answer, "problems"))


def _report_problems(problems: list[str]) -> int:
    """What is wrong in the files goes to stderr, and makes the command fail."""
    for problem in problems:
        print(f"orlop: {printable(problem)}", file=sys.stderr)
    return 1 if problems else 0


def _get(arguments: Arguments, key: str) -> int:
    secrets = "show" if arguments.flag("private") else "hide"
    answer = get_object(Client(), f"/orlop/config?secrets={secrets}")
    value = lookup(answer.get("config"), key.split("."))
    if value is None:
        from orlop.wire.config.document import path_of

        path_of(key)
        raise NotFound(f"{key} is not set", hint=f"orlop config explain {key}")
    if arguments.flag("json"):
        print(encode(value))
    elif isinstance(value, str):
        print(value)
    else:
        print("\n".join(yaml_lines(value)))
    return 0


def lookup(value: object, words: list[str]) -> object:
    """What is at *words* in *value*, where a name may be several of them; None for nothing."""
    if not words:
        return value
    if isinstance(value, dict):
        for count in range(1, len(words) + 1):
            name = ".".join(words[:count])
            if name in value:
                return lookup(value[name], words[count:])
    return None


def _generate(arguments: Arguments) -> int:
    from orlop.wire.config.manual import template

    print(encode({"text": template()}) if arguments.flag("json") else template().rstrip("\n"))
    return 0


def _schema(_: Arguments) -> int:
    from orlop.wire.config.json_schema import json_schema

    print(encode(json_schema()))
    return 0


def _explain(arguments: Arguments, *keys: str) -> int:
    from orlop.wire.config import manual
    from orlop.wire.config.document import path_of
    from orlop.wire.config.table import KEYS, find, fits

    path = path_of(keys[0]) if keys else ()
    found = find(path)
    if found is None:
        rows = [row for row in KEYS if fits(row.segments[: len(path)], path)]
        if arguments.flag("json"):
            print(encode([{"key": row.path, **manual.facts(row)} for row in rows]))
        else:
            print("\n".join(f"{row.path:<42} {row.what}" for row in rows))
        return 0
    answer = get_object(Client(), "/orlop/config")
    origins = answer.get("origins")
    name = ".".join(path)
    value = lookup(answer.get("config"), list(path))
    origin = origins.get(name) if isinstance(origins, dict) else None
    if arguments.flag("json"):
        print(encode({"key": name, "value": value, "origin": origin, **manual.facts(found)}))
        return 0
    print("\n".join(manual.explain(found)))
    if value is None:
        print("  not set")
    else:
        lines = yaml_lines(value, 2)
        print(f"  set by {printable(str(origin))}:", *lines, sep="\n")
    return 0


def _validate(arguments: Arguments, file: str = "-") -> int:
    name, text = read_document(file)
    body = {"verb": "validate", "name": name, "text": text}
    problems: list[str] = []
    notices: list[str] = []
    try:
        answer = Client().post("/orlop/config/change", body)
    except InvalidArgument as error:
        problems = [error.message]
    else:
        notices = strings_of(answer if isinstance(answer, dict) else {}, "notices")
    if arguments.flag("json"):
        print(encode({"problems": problems, "notices": notices}))
    for text in (*problems, *notices):
        print(f"orlop: {printable(text)}", file=sys.stderr)
    return 1 if problems else 0


def read_document(file: str) -> tuple[str, str]:
    """Name and text of *file*, `-` for the standard input.

    Raises:
        InvalidArgument: it cannot be read, or is no text.
    """
    name = "stdin" if file == "-" else file
    data = b""
    try:
        if file == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(file, "rb") as stream:
                data = stream.read()
        return name, data.decode()
    except OSError as error:
        raise InvalidArgument(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidArgument(f"{name}:{line}: not a text in UTF-8") from None


def _versions(arguments: Arguments) -> int:
    answer = get_object(Client(), "/orlop/config/versions")
    if arguments.flag("json"):
        print(encode(answer))
        return 0
    import time

    current = answer.get("current")
    for version in objects_in(answer.get("versions")):
        number, created = version.get("version"), version.get("created_at")
        mark = "  in force" if number == current else ""
        moment = time.localtime(created if isinstance(created, int | float) else 0)
        when = time.strftime("%Y-%m-%d %H:%M:%S", moment)
        print(f"{number!s:>4}  {when}{mark}")
    trial = answer.get("trial")
    if isinstance(trial, dict):
        left_s = trial.get("remaining_s")
        print(f"on trial: version {trial.get('back_to')} comes back in {left_s:.0f} s")
    return 0


def objects_in(value: object) -> list[Object]:
    """The objects in the list that *value* should be; none if it is something else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


_VERBS: dict[str, tuple[Callable[..., int], int, int]] = {
    "show": (_show, 0, 0),
    "export": (_show, 0, 0),
    "reload": (_reload, 0, 0),
    "get": (_get, 1, 1),
    "explain": (_explain, 0, 1),
    "validate": (_validate, 0, 1),
    "versions": (_versions, 0, 0),
    "generate": (_generate, 0, 0),
    "schema": (_schema, 0, 0),
}
"""What each verb does, and how many words it takes."""
