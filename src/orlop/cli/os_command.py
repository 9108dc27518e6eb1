"""`orlop os`: the generations of the machine: what runs, what comes next, and the way back."""

from __future__ import annotations

import sys
import time

from orlop.cli import os_releases, os_verbs
from orlop.cli.answers import Object, get_object, get_objects, member, objects, strings_of, text_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.os_answers import FAILED, follow
from orlop.cli.text import columns, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "os [VERB] [GENERATION|FILE]..."
OPTIONS = (
    Option("json", help="as the machine's API gives it"),
    Option("dry-run", help="for apply, rollback, gc: only say so"),
    Option("image", value="FILE", help="for stage: a unified kernel image by itself"),
    Option("channel", value="NAME", help="for check, stage: instead of the configured one"),
    Option("release", value="VERSION", help="for check, stage: instead of the channel's"),
    Option("allow-downgrade", help="for check, stage: also an older one"),
    Option("unsigned", help="for stage: although nobody has signed it"),
    Option("now", help="for apply: do not wait for a window or a lock"),
    Option("no-reboot", help="for apply, rollback: the next boot does it"),
    Option("keep-configuration", help="for rollback: only the system"),
    Option("repair", help="for verify: bring anew what is damaged"),
    Option("reason", value="TEXT", help="for hold, inhibit: why"),
    Option("until", value="TIME", help="for hold: 2h, or 2026-12-24T18:00:00Z"),
)
WORDS = (0, 3)
VERBS = {
    "status": "what runs, what is good, staged, on trial or held",
    "list": "all generations",
    "diff": "OLD NEW: what differs between two generations",
    "check": "[SOURCE]: whether there is a release for this machine",
    "stage": "[SOURCE|FILE]: put a release beside the one that runs",
    "apply": "try what is staged; what does not work comes back by itself",
    "cancel": "give up fetching, or take back apply --no-reboot",
    "rollback": "[GENERATION]: go back, to the last one without a number",
    "pin": "GENERATION: keep it",
    "unpin": "GENERATION: it may be removed",
    "hold": "apply nothing",
    "unhold": "apply again",
    "inhibit": "-- PROGRAM...: apply nothing while it runs",
    "why": "the one reason why nothing is applied now",
    "history": "what has been done, and what came of it",
    "verify": "[--repair [SOURCE]]: compare all on the disks with its digests",
    "gc": "remove the generations that nobody needs",
    "trust": "ROOT.json: take the releases of whom it names",
}
MORE = """\
SOURCE is https://HOST/PATH, oci://HOST/NAME:TAG, or a directory of the machine;
FILE is one archive of a release, - the same on standard input.
Exit status: 0 done, 77 nothing to do, 75 refused (held, or not now), 1 failed.
What has been begun is brought to its end even if this command is interrupted."""

ROLLED_BACK = "rolled back"
"""What a person has gone back from is not bad, but left alone as well."""
GET = ("status", "list", "why", "history")


def run(arguments: Arguments) -> int:
    client = Client()
    words = arguments.words
    if words[:1] != ["inhibit"]:  # the others have no program: it is what `--` is elsewhere
        words = [*words, *arguments.program]
    verb, *words = words or ["status"]
    match words:
        case [] if verb in GET:
            return _show(client, verb, as_json=arguments.flag("json"))
        case [] if verb == "verify":
            return _verify(client, arguments)
        case [] if verb in os_verbs.ALONE:
            return os_verbs.ALONE[verb](client, arguments)
        case [old, new] if verb == "diff":
            target = f"/orlop/os/diff?old={_number(old)}&new={_number(new)}"
            answer = get_object(client, target)
            print(encode(answer) if arguments.flag("json") else _difference(answer))
            return 0
        case [source] if verb == "verify" and arguments.flag("repair"):
            return _verify(client, arguments, source)
        case [number] if verb in ("rollback", "pin", "unpin"):
            return os_verbs.act_on(client, verb, _number(number), arguments)
        case [source] if verb in os_releases.WITH_WORD:
            return os_releases.WITH_WORD[verb](client, arguments, source)
    if verb in VERBS:
        raise UsageError(f"orlop os {verb} {VERBS[verb]}")
    raise UsageError(f"{verb!r} is nothing that can be done with the system")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise UsageError(f"{text!r} is no number of a generation", hint="orlop os list")
    return int(text)


def _show(client: Client, verb: str, *, as_json: bool) -> int:
    if verb in ("list", "history"):
        rows = get_objects(client, f"/orlop/os/{verb}")
        print(encode(rows) if as_json else _TABLES[verb](rows))
        return 0
    answer = get_object(client, f"/orlop/os/{verb}")
    if as_json:
        print(encode(answer))
    elif verb == "why":
        print(printable(text_of(answer, "blocked") or "nothing: orlop os apply"))
    else:
        print("\n".join(map(printable, status_lines(answer))))
    return 0


def status_lines(answer: Object) -> list[str]:
    """Where the machine stands, in words."""
    lines = [f"Orlop {text_of(answer, 'version')}, build {text_of(answer, 'build')[:16]}"]
    lines += [
        f"{key:<9} generation {number}"
        for key in ("running", "good", "previous", "staged")
        if (number := text_of(answer, key))
    ]
    lines += [f"service   {text}" for text in _services(answer)]
    if isinstance(trial := answer.get("trial"), dict):
        when = "now" if trial.get("now") else "with the next boot"
        which, attempt = trial.get("generation"), trial.get("attempt")
        lines.append(f"trial     generation {which}, {when}, attempt {attempt}")
    if isinstance(held := answer.get("hold"), dict):
        until = held.get("until_s")
        when = f", until {_moment(until)}" if until else ""
        lines.append(f"held      {held.get('reason') or 'no reason was given'}{when}")
    if answer.get("configuration_changed"):
        lines.append("changed   the configuration, since the generation was made")
    bad = answer.get("bad")
    for digest, one in (bad if isinstance(bad, dict) else {}).items():
        cause, text = str(member(one, "cause")), str(member(one, "text") or "")
        word = "left" if cause == ROLLED_BACK else "bad"
        lines.append(f"{word:<9} {digest[:16]}: {cause} {text}".rstrip())
    if blocked := text_of(answer, "blocked"):
        lines.append(f"waiting   {blocked}")
    return lines


def _services(answer: Object) -> list[str]:
    """The services that are not those inside the image, by digest."""
    found = answer.get("services")
    return [
        f"{name} {member(version, 'digest')}"
        for name, version in (found if isinstance(found, dict) else {}).items()
        if member(version, "digest")
    ]


def _generations(rows: list[Object]) -> str:
    header = ("GENERATION", "VERSION", "IMAGE", "SERVICES", "MADE", "STATES")
    return columns(
        header,
        (
            (
                text_of(row, "number"),
                str(member(row, "release", "version") or "-"),
                str(member(row, "image", "id")),
                ", ".join(text[:-52] for text in _services(row)) or "-",
                _moment(row.get("created")),
                ", ".join(strings_of(row, "states") + (["tainted"] if row.get("tainted") else [])),
            )
            for row in rows
        ),
    )


def _history(rows: list[Object]) -> str:
    return columns(
        ("CHANGE", "VERB", "BEGUN", "STATUS", "WHY"),
        (
            (
                text_of(row, "change"),
                text_of(row, "verb"),
                _moment(row.get("created")),
                text_of(row, "status"),
                text_of(row, "error"),
            )
            for row in rows
        ),
    )


def _verify(client: Client, arguments: Arguments, source: str = "") -> int:
    os_releases.check_source(source)

    def show(answer: Object) -> int:
        rows = objects(answer.get("rows"), "answer")
        print(encode(rows) if arguments.flag("json") else _verified(rows))
        whole = all(row.get("ok") for row in rows)
        if not whole and not (arguments.flag("repair") or arguments.flag("json")):
            print("  (try: orlop os verify --repair)", file=sys.stderr)
        return 0 if whole else FAILED

    body: Object = {"repair": arguments.flag("repair"), "source": source}
    return follow(client.request("POST", "/orlop/os/verify", body), arguments, "", show)


def _verified(rows: list[Object]) -> str:
    return columns(
        ("WHAT", "IS"),
        (
            (
                text_of(row, "what"),
                text_of(row, "problem") or ("repaired" if row.get("repaired") else "as it was"),
            )
            for row in rows
        ),
    )


def _difference(answer: Object) -> str:
    if not answer:
        return "there is no difference"
    rows: list[tuple[str, str, str]] = []
    services = answer.get("services")
    parts: list[tuple[str, object]] = [(k, v) for k, v in answer.items() if k != "services"]
    if isinstance(services, dict):
        parts += [(f"service {name}", pair) for name, pair in services.items()]
    for name, pair in parts:
        rows.append((name, _short(member(pair, "old")), _short(member(pair, "new"))))
    return columns(("PART", "OLD", "NEW"), rows)


def _short(value: object) -> str:
    """What tells one from another for a person."""
    for key in ("version", "id", "digest"):
        if found := member(value, key):
            return str(found)[:23]
    return "-" if value is None or isinstance(value, dict) else str(value)


def _moment(value: object) -> str:
    seconds = value if isinstance(value, int | float) else 0
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "-"


_TABLES = {"list": _generations, "history": _history}
