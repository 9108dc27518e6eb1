"""The verbs of `orlop config` that change something, or say what a change would be."""

from __future__ import annotations

import os
import sys

from orlop.cli.answers import Object, get_object, strings_of, text_of
from orlop.cli.client import Client
from orlop.cli.config import objects_in, read_document, wrong_words
from orlop.cli.json_text import encode
from orlop.cli.text import printable
from orlop.lib.errors import Internal, InvalidArgument, OrlopError
from orlop.wire.config.yaml_text import yaml_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

CHANGE = "/orlop/config/change"


def run(verb: str, words: list[str], arguments: Arguments) -> int:
    match [verb, *words]:
        case ["set", key, value]:
            return _change(arguments, {"verb": "set", "key": key, "text": value})
        case ["unset", key]:
            return _change(arguments, {"verb": "unset", "key": key})
        case ["merge", *file] if len(file) < 2:
            return _change(arguments, {"verb": "merge", **_document(*file)})
        case ["apply", file]:
            return _change(arguments, {"verb": "replace", **_document(file)})
        case ["edit"]:
            return _edit(arguments)
        case ["rollback", *number] if "".join(number or "0").isdecimal() and len(number) < 2:
            return _change(arguments, {"version": int("".join(number or "0"))}, "rollback")
        case ["confirm"]:
            return _confirm(arguments)
        case ["diff", *what]:
            return _diff(arguments, what)
    raise wrong_words(verb)


def _document(file: str = "-") -> dict[str, object]:
    name, text = read_document(file)
    return {"name": name, "text": text}


def _change(arguments: Arguments, body: dict[str, object], route: str = "change") -> int:
    dry_run = arguments.flag("dry-run")
    body |= {"dry_run": dry_run, "confirm": arguments.value("confirm")}
    answer = Client().post(f"/orlop/config/{route}", body)
    if not isinstance(answer, dict):
        raise Internal("the engine's answer is no object")
    if arguments.flag("json"):
        print(encode(answer))
    else:
        print("\n".join(report_lines(answer, dry_run=dry_run)))
        if answer.get("changed") and not dry_run and arguments.value("confirm"):
            print(f"on trial: `orlop config confirm` within {arguments.value('confirm')} keeps it")
    for text in warnings(answer, dry_run=dry_run):
        print(f"orlop: {printable(text)}", file=sys.stderr)
    return 0


def report_lines(answer: Object, *, dry_run: bool) -> list[str]:
    """What a change does, or would do."""
    lines: list[str] = []
    for difference in objects_in(answer.get("differences")):
        for sign, side in (("-", "old"), ("+", "new")):
            value = difference.get(side)
            if value is not None:
                lines += _difference(sign, text_of(difference, "key"), value)
    services = objects_in(answer.get("services"))
    lines += [f"{text_of(s, 'action')} {text_of(s, 'name')}" for s in services]
    lines += [f"at the next boot: {key}" for key in strings_of(answer, "reboot")]
    if not lines and answer.get("changed") and "differences" not in answer:
        lines.append(f"version {answer.get('version')} is in force again")
    elif not lines:
        changed = answer.get("changed")
        lines.append("nothing changes but the text" if changed else "nothing changes")
    elif dry_run:
        lines.insert(0, "would change:")
    elif answer.get("version"):
        lines.append(f"version {answer['version']} is in force")
    return [printable(line) for line in lines]


def _difference(sign: str, key: str, value: object) -> list[str]:
    first, *rest = yaml_lines({key: value})
    return [f"{sign} {line}" for line in (first, *rest)]


def warnings(answer: Object, *, dry_run: bool) -> list[str]:
    """What a person should know besides."""
    found = [
        f"{text_of(item, 'key')} has no effect: {text_of(item, 'by') or 'another source'} "
        "has the last word"
        for item in objects_in(answer.get("shadowed"))
    ]
    found += strings_of(answer, "notices") + strings_of(answer, "problems")
    if answer.get("changed") and answer.get("is_volatile") and not dry_run:
        found.append("there is no state partition: with the next boot the change is gone")
    return found


def _confirm(arguments: Arguments) -> int:
    answer = Client().post("/orlop/config/confirm")
    if arguments.flag("json"):
        print(encode(answer))
    else:
        print(f"version {answer['version'] if isinstance(answer, dict) else ''} stays")
    return 0


def _diff(arguments: Arguments, what: list[str]) -> int:
    client = Client()
    if what and not what[0].isdecimal():
        body = {**_document(what[0]), "verb": "replace", "dry_run": True}
        answer = client.post(CHANGE, body)
        if not isinstance(answer, dict):
            raise Internal("the engine's answer is no object")
        print(encode(answer) if arguments.flag("json") else "\n".join(
            report_lines(answer, dry_run=False)
        ))  # fmt: skip
        return 0
    current = get_object(client, "/orlop/config/versions")
    numbers = [number for v in objects_in(current.get("versions")) if (number := v.get("version"))]
    newest = current.get("current") or 0
    older = [number for number in numbers if isinstance(number, int) and number < int(str(newest))]
    old = what[0] if what else str(max(older, default=0))
    new = what[1] if len(what) > 1 else "current"
    if old == "0":
        raise InvalidArgument("there is no version before this one")
    texts = [get_object(client, f"/orlop/config/versions/{number}") for number in (old, new)]
    import difflib

    lines = list(
        difflib.unified_diff(
            text_of(texts[0], "text").splitlines(),
            text_of(texts[1], "text").splitlines(),
            f"version {old}",
            f"version {texts[1].get('version')}",
            lineterm="",
        )
    )
    print(encode({"diff": lines}) if arguments.flag("json") else "\n".join(map(printable, lines)))
    return 0


def _edit(arguments: Arguments) -> int:
    """Until it is right, or the person gives up: the text stays in its file then."""
    text = text_of(get_object(Client(), "/orlop/config/versions/current"), "text")
    path = f"/tmp/config-{os.getpid()}.yml"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    before = text or "#cloud-config\n"
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(before)
    while True:
        _run_editor(path)
        if not text and read_document(path)[1] == before:
            os.unlink(path)
            print("nothing changes")
            return 0
        body = {**_document(path), "verb": "replace", "name": "config.yml"}
        try:
            status = _change(arguments, body)
        except OrlopError as error:
            print(f"orlop: {printable(error.message)}", file=sys.stderr)
            if sys.stdin.isatty() and input("Edit again? [Y/n] ").lower() not in ("n", "no"):
                continue
            print(f"orlop: nothing has changed; the text is in {path}", file=sys.stderr)
            return 1
        os.unlink(path)
        return status


def _run_editor(path: str) -> None:
    editor = (os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi").split()
    try:
        child = os.posix_spawnp(editor[0], [*editor, path], os.environ)
    except OSError as error:
        raise InvalidArgument(f"cannot start {editor[0]}: {error.strerror}") from None
    _, status = os.waitpid(child, 0)
    if status != 0:
        code = os.waitstatus_to_exitcode(status)
        raise InvalidArgument(f"{editor[0]} ended with status {code}; the text is in {path}")
