"""The worker that reads service files: `worker services`, the request as JSON on descriptor 0.

    {"name": NAME, "text": TEXT, "services": {NAME: DEFINITION}, "files": {NAME: FILE},
     "enabled": [NAME], "enabling": BOOL, "environment": {NAME: VALUE}}

or, about the index of a catalogue, of which it wants all or one entry,

    {"index": TEXT, "place": PLACE, "section": SECTION, "entry": NAME}

It gives up every privilege before it looks at the text. The answer is one JSON object on stdout:
`services` (each with its `definition`, the `place` of its image and that of its `schedule`),
`notices`, `profiles` and `replaces`, the files whose services are all in this one; or what
`wire.catalogue_index` finds; or `error`, `hint` and `kind`.
"""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.system.config.worker import SOURCE_CPU_S, drop_privileges
from orlop.system.services.check import Present, check
from orlop.wire.compose import parse_service
from orlop.wire.compose_file import parse_file
from orlop.wire.compose_model import to_json
from orlop.wire.config.environment import fill, plain
from orlop.wire.located_yaml import parse_yaml

if TYPE_CHECKING:
    from types import FrameType

    from orlop.wire.compose_model import Json

MAX_REQUEST_BYTES = 8 << 20


def main(argv: list[str]) -> int:
    """Drop, read, answer."""
    del argv
    with open(0, "rb", closefd=False) as stream:
        request = stream.read(MAX_REQUEST_BYTES)
    drop_privileges()
    signal.signal(signal.SIGPROF, _out_of_time)
    signal.setitimer(signal.ITIMER_PROF, SOURCE_CPU_S)
    try:
        asked = json.loads(request)
        answer = read_index(asked) if "index" in asked else read(asked)
    except OrlopError as error:
        answer = {"error": error.message, "hint": error.hint, "kind": type(error).__name__}
    except (MemoryError, TimeoutError):
        answer = {"error": "takes too long or too much memory to read", "kind": "InvalidArgument"}
    data = json.dumps(answer).encode()
    while data:
        data = data[os.write(1, data) :]
    return 0


def read(request: dict[str, Json]) -> dict[str, Json]:
    """The services of a file, checked by themselves and beside the others.

    Raises:
        InvalidArgument: with file, line and key.
    """
    name, text = str(request["name"]), str(request["text"])
    if "\0" in text:
        raise InvalidArgument(f"{name}:1: not a text")
    given = request.get("environment")
    environment = given if isinstance(given, dict) else {}
    document = fill(parse_yaml(name, text.removeprefix("\ufeff")), environment)
    found = parse_file(document, plain(environment))
    services, files = request.get("services"), request.get("files")
    enabled = request.get("enabled")
    present = Present(
        {
            other: parse_service(other, definition)
            for other, definition in (services if isinstance(services, dict) else {}).items()
            if isinstance(definition, dict)
        },
        {k: str(v) for k, v in (files if isinstance(files, dict) else {}).items()},
        frozenset(map(str, enabled if isinstance(enabled, list) else [])),
    )
    replaced = check(found, present, enabling=request.get("enabling") is True)
    return {
        "services": {
            service.name: {
                "definition": to_json(service),
                "place": found.places[service.name],
                "schedule": found.locate[service.name](("x-orlop", "schedule")),
            }
            for service in found.services
        },
        "notices": [*found.notices],
        "profiles": [*found.profiles],
        "replaces": [*replaced],
    }


def read_index(request: dict[str, Json]) -> dict[str, Json]:
    """What a catalogue offers, or one entry of it.

    Raises:
        NotFound: there is no such entry. InvalidArgument: it is no index.
    """
    from orlop.wire import catalogue_index

    place, text = str(request["place"]), str(request["index"])
    if name := request.get("entry"):
        return catalogue_index.choose(place, text, str(request.get("section")), str(name))
    return catalogue_index.read(place, text)


def _out_of_time(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError
