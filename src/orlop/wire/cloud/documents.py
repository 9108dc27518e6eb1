"""Answers of data sources as documents of the configuration, and what to tell people about them.

The metadata counts least: what a machine's own files or its user data say about its name or network
is stronger. Keys to log in add up, because whoever loses one is locked out. User data counts most.
Pure; input may be hostile.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.wire.cloud.answer import Answer, decode
from orlop.wire.cloud.candidates import allows
from orlop.wire.cloud.user_data import NAME as USER_DATA
from orlop.wire.cloud.user_data import Frequency, Kind, Part, split
from orlop.wire.config.evaluate import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.wire.compose_model import Json

ANSWER, CACHED, INLINE = "cloud", "cached", "inline"
KINDS = (ANSWER, CACHED, INLINE)
PARAMETER = "orlop.config.inline"
MAX_HOSTNAME_LENGTH = 64
SCRIPTS = "/run/user-data"
SHELL = "/bin/sh"
_SHELLS = ("sh", "ash", "bash", "dash")


@dataclass(slots=True)
class Documents:
    """What to put below and above the machine's own documents. *report* is for people."""

    below: list[Source] = field(default_factory=list)
    above: list[Source] = field(default_factory=list)
    inline: list[Source] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    report: dict[str, Json] = field(default_factory=dict)
    scripts: int = 0
    copy_tail: str = ""
    """What a copy of the user data ends with: whose it is."""


def documents(sources: Sequence[Source], machine: str, wanted: tuple[str, ...]) -> Documents:
    """The documents in *sources*, of `KINDS`; the first answer of a source that is *wanted* counts.

    *machine* is what the firmware calls this one: a cached answer of another counts for nothing.
    """
    found = Documents()
    for source in sources:
        if isinstance(source.content, OSError):
            continue  # the cloud service writes a new one just now, or the disk does not answer
        try:
            if source.kind == INLINE:
                _add_inline(found, source.content)
            elif not found.report.get("source"):
                answer = decode(source.content)
                if _counts(found, source.kind, answer, machine, wanted):
                    _add_answer(found, source, answer)
        except OrlopError as error:
            found.problems.append(f"{source.path}: {error}")
    return found


def _add_inline(found: Documents, command_line: bytes) -> None:
    for word in command_line.decode("utf-8", "replace").split():
        key, _, value = word.partition("=")
        if key != PARAMETER:
            continue
        text = value.strip('"').replace("-", "+").replace("_", "/")
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidArgument(f"kernel parameter {PARAMETER} is not base64: {error}") from error
        parts, problems = split(data, name=PARAMETER)
        found.problems += problems
        _add_parts(found, found.inline, parts)


def _counts(
    found: Documents, kind: str, answer: Answer, machine: str, wanted: tuple[str, ...]
) -> bool:
    if not answer.source:
        found.notices += [f"no data source: {warning}" for warning in answer.warnings]
        return False
    if not allows(wanted, answer.source):
        found.notices.append(f"{answer.source} is not one of orlop.cloud.datasources, ignoring it")
        return False
    # Else the disk was in another machine.
    return kind != CACHED or (bool(machine) and answer.machine.lower() == machine)


def _add_answer(found: Documents, source: Source, answer: Answer) -> None:
    found.notices += [f"{answer.source}: {warning}" for warning in answer.warnings]
    parts, problems = split(answer.user_data, answer.included)
    found.problems += problems
    _add_metadata(found, answer)
    # Before the keys, which are added to whatever the list is by then.
    _add_parts(found, found.above, parts)
    _add_copy(found, source, answer)
    _add_keys(found, answer)
    includes = [part.content.decode() for part in parts if part.kind is Kind.INCLUDE]
    found.report = {
        "source": answer.source,
        "instance_id": answer.instance_id,
        "from": "an earlier boot" if source.kind == CACHED else answer.place or "the network",
        "took_ms": answer.took_ms,
        "hostname": answer.hostname,
        "network": dict(answer.network),
        "ssh_keys": len(answer.ssh_keys),
        "parts": [_described(part) for part in parts],
        "includes": [] if answer.included else [*includes],
        "warnings": [*answer.warnings, *problems],
    }


def _add_copy(found: Documents, source: Source, answer: Answer) -> None:
    """Give the user data the copy of what it was when it last was whole, on the same instance."""
    found.copy_tail = f"\n# {answer.source} {answer.instance_id!r}\n"
    tail = found.copy_tail.encode()
    if source.good is None or not source.good[1].endswith(tail):
        return
    good = (source.good[0], source.good[1].removesuffix(tail))
    found.above = [
        replace(part, good=good) if part.path == USER_DATA else part for part in found.above
    ]


def _described(part: Part) -> Json:
    return {"kind": part.kind.value, "name": part.name, "bytes": len(part.content)}


def _add_metadata(found: Documents, answer: Answer) -> None:
    """Each by itself, so that a name that is none does not cost the network."""
    name = f"metadata of {answer.source}"
    hostname = answer.hostname
    if len(hostname) > MAX_HOSTNAME_LENGTH:
        hostname = hostname.partition(".")[0]
    if hostname:
        found.below.append(_document(name, {"hostname": hostname}))
    if answer.network:
        found.below.append(_document(name, {"orlop": {"network": dict(answer.network)}}))


def _add_keys(found: Documents, answer: Answer) -> None:
    name = f"metadata of {answer.source}"
    found.above += [_document(name, {"ssh_authorized_keys+": [key]}) for key in answer.ssh_keys]


def _script(part: Part, path: str) -> Source:
    """A script as a file that only `runcmd` has, and the command that runs it.

    It is run by name because the file cannot be executed where it is. There is no other shell.
    """
    first = part.content.removeprefix(b"\xef\xbb\xbf")[2:].split(b"\n", 1)[0]
    words = first.decode("utf-8", "replace").split(maxsplit=1)
    if not words or words[0].rpartition("/")[2] in _SHELLS:
        words = [SHELL, *words[1:]]
    entry: dict[str, Json] = {
        "path": path,
        "content": base64.b64encode(part.content).decode(),
        "encoding": "base64",
        "permissions": "0700",
        "container": "runcmd",
    }
    return _document(part.name, {"write_files+": [entry], "runcmd+": [[*words, path]]})


def _document(name: str, data: dict[str, Json]) -> Source:
    return Source("config", name, json.dumps(data).encode())


def _add_parts(found: Documents, into: list[Source], parts: Sequence[Part]) -> None:
    """Scripts come last: a list of commands in a document after theirs would take their place."""
    for part in sorted(parts, key=lambda part: part.kind is Kind.SCRIPT):
        match part.kind:
            case Kind.CONFIG:
                into.append(Source("config", part.name, part.content))
            case Kind.COMPOSE:
                into.append(Source("services", part.name, part.content))
            case Kind.SCRIPT:
                found.scripts += 1
                into.append(_script(part, f"{SCRIPTS}/part-{found.scripts:03}"))
                if part.frequency is not Frequency.INSTANCE:
                    found.notices.append(f"{part.name}: it is run once on an instance")
            case Kind.INCLUDE:
                url = part.content.decode()
                found.notices.append(f"{part.name}: {url} is not there yet, going on without it")
