"""`orlop service add` and its kin: services that a person brings, and what becomes of them."""

from __future__ import annotations

import os
import sys

from orlop.cli.answers import Object, get_object, member, strings_of, text_of
from orlop.cli.arguments import UsageError
from orlop.cli.json_text import encode
from orlop.cli.text import printable
from orlop.lib.errors import NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments
    from orlop.cli.client import Client

MAX_BYTES = 1 << 20
ENDINGS = (".yml", ".yaml", ".json")
OCI = "oci://"


def run(client: Client, verb: str, words: list[str], arguments: Arguments) -> None:
    """Do *verb* with *words*: sources, or names of services that are there."""
    if verb in ("disable", "rm", "pull"):
        target = {"rm": "remove"}.get(verb, verb)
        _show(client.post(f"/orlop/services/{target}", {"names": words}), arguments)
        return
    there: set[str] = set()
    if verb != "add":
        there = {text_of(item, "name") for item in _services(client)}
    for word in words:
        if word in there:
            if verb == "enable":
                _show(client.post("/orlop/services/enable", {"names": [word]}), arguments)
            else:
                _start(client, word)
            continue
        request = source(word, arguments)
        request["enable"] = verb == "enable" or arguments.flag("enable")
        request["start"] = verb == "up"
        _show(client.post("/orlop/services/add", request), arguments)


def source(word: str, arguments: Arguments) -> Object:
    """What *word* names, as the API wants it.

    Raises:
        UsageError: it can be nothing. NotFound: there is no such file.
    """
    found: Object = {}
    if arguments.flag("digest"):
        digest = arguments.value("digest")
        found["digest"] = digest if digest.startswith("sha256:") else f"sha256:{digest}"
    if word == "-":
        return {**found, "name": "stdin", "text": _text(sys.stdin.buffer.read(MAX_BYTES + 1), word)}
    if word.startswith(("http://", "https://")):
        return {**found, "url": word}
    if word.startswith(OCI):
        return {**found, "reference": word.removeprefix(OCI)}
    if word.startswith(("/", ".", "~")) or word.endswith(ENDINGS) or os.path.isfile(word):
        return {**found, "name": word, "text": _read(word)}
    if any(letter in word for letter in "/:@"):
        return {**found, "reference": word}
    return {**found, "catalogue": word, "from": place(arguments.value("catalogue"))}


def place(text: str) -> str:
    """Where a catalogue is: a directory as the engine sees it."""
    return os.path.abspath(text) if text and "://" not in text else text


def _read(path: str) -> str:
    try:
        with open(os.path.expanduser(path), "rb") as stream:
            return _text(stream.read(MAX_BYTES + 1), path)
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from None


def _text(data: bytes, name: str) -> str:
    if len(data) > MAX_BYTES:
        raise OrlopError(f"{name}: longer than {MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise OrlopError(f"{name}: not a text in UTF-8") from None


def _services(client: Client) -> list[Object]:
    value = client.get("/orlop/services")
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _start(client: Client, name: str) -> None:
    from orlop.lib.errors import NotModified

    try:
        client.post(f"/orlop/services/{name}/start")
    except NotModified:
        pass


def _show(answer: object, arguments: Arguments) -> None:
    if arguments.flag("json"):
        print(encode(answer))
        return
    if not isinstance(answer, dict):
        return
    for notice in strings_of(answer, "notices"):
        print(f"orlop: {printable(notice)}", file=sys.stderr)
    if "file" in answer:
        for name in strings_of(answer, "services"):
            enabled = name in strings_of(answer, "enabled")
            print(f"{name}: {'enabled' if enabled else 'added'}")
        if not strings_of(answer, "enabled"):
            names = " ".join(strings_of(answer, "services"))
            print(f"  (orlop service enable {names} starts it, now and at each boot)")
    for image in strings_of(answer, "changed"):
        print(f"{image}: a newer one")


def offered(client: Client, catalogue: str, there: set[str]) -> list[Object]:
    """Services of the catalogue that are not among those *there*, as rows of a list."""
    if any(letter in catalogue for letter in "\r\n &"):
        raise UsageError("--catalogue wants a URL or a directory")
    index = get_object(client, f"/orlop/catalogue?from={place(catalogue)}")
    services = index.get("services")
    found = services if isinstance(services, dict) else {}
    return [
        {
            "name": name,
            "state": "offered",
            "reason": str(member(entry, "description") or ""),
        }
        for name, entry in found.items()
        if name not in there
    ]
