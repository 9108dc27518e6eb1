"""Both commands ask the engine for the same: each request with its query and its body."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.engine.docker_cli.pair import COMMANDS, PREFIXES, Pair, invocations
from tests.unit.cli.fake_engine import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

API = "/v1.45"
PING = b"HTTP/1.1 200 OK\r\nApi-Version: 1.45\r\nOstype: linux\r\nConnection: close\r\n\r\n"


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
ID = "a" * 64
ANSWERS: dict[str, object] = {
    "POST /containers/create": {"Id": ID, "Warnings": []},
    "POST /networks/create": {"Id": ID},
    "POST /volumes/create": {"Name": "x"},
    "POST /containers/box/exec": {"Id": ID},
    "POST /commit": {"Id": ID},
    "GET /containers/json": [],
    "GET /networks": [],
    "GET /images/json": [],
    "GET /volumes": {"Volumes": []},
    "GET /containers/box/json": {"Id": ID, "Config": {"Tty": False}, "State": {"Running": True}},
}


class Recorder:
    """An engine that writes down what it is asked and has the same answers for both."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "fake.sock"
        self.engine = FakeEngine(self.path)
        self.engine.answer_raw("HEAD /_ping", PING)
        for request, value in ANSWERS.items():
            method, target = request.split()
            self.engine.answer_raw(f"{method} {API}{target}", OK + json.dumps(value).encode())

    def asked(self, side: str) -> list[str]:
        """The requests since the last call, without pings: a line for each part of each."""
        found = [each for each in self.engine.requests if "_ping" not in each[0]]
        self.engine.requests.clear()
        lines = [line for each in found for line in _lines(*each)]
        return [line.replace(PREFIXES[side], "{me}") for line in lines]


def _lines(request: str, body: bytes) -> Iterator[str]:
    parts = urlsplit(request)
    where = parts.path.replace(f"containers/{ID}", "containers/box")
    yield where
    for name, value in sorted(parse_qsl(parts.query)):
        yield f"{where} ?{name}={value}"
    try:
        decoded = json.loads(body) if body else None
    except ValueError:
        yield f"{where} {body!r}"
        return
    yield from _flat(f"{where} ", decoded)


def _flat(path: str, value: object) -> Iterator[str]:
    """A line for each value in JSON; null is nothing, as Go sends it for what was not asked for."""
    if isinstance(value, dict) and value:
        for name in sorted(value):
            yield from _flat(f"{path}.{name}", value[name])
    elif isinstance(value, list) and value:
        for position, each in enumerate(value):
            # What has no order comes out of a map there.
            has_order = not path.endswith((".Env", ".Binds"))
            yield from _flat(f"{path}[{position}]" if has_order else path, each)
    elif not (value is None or _says_nothing(path, value)):
        yield f"{path} = {value!r}"


def _says_nothing(path: str, value: object) -> bool:
    """Empty, and not a member that counts by its name; older clients send all that is zero."""
    if isinstance(value, dict | list):
        return ".ExposedPorts." not in path and ".Volumes." not in path
    return not value and (".Endpoint" in path or "/update" in path or "/exec" in path)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    directory = tmp_path_factory.mktemp("recorder")
    found = Recorder(directory)
    yield found
    found.engine.close()


@pytest.fixture(scope="module")
def fake_pair(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    directory = tmp_path_factory.mktemp("requests")
    (directory / "env").write_text("# comment\nA=b\n\nFROM_HERE\nNOT_HERE\n")
    (directory / "labels").write_text("x=y\nz\n")
    (directory / "profile.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW",\n "a": [1, 2]}')
    return Pair(recorder.path, directory)


def _compare(recorder: Recorder, pair: Pair, words: str) -> None:
    asked = {}
    for side in COMMANDS:
        said = pair.run(side, words)
        asked[side] = recorder.asked(side)
        assert asked[side], f"{side} asked nothing: {said.stderr}"
    if words.split(maxsplit=1)[0] in ("exec", "logs"):
        # Theirs looks at the container first.
        asked["theirs"].remove(f"GET {API}/containers/box/json")
    missing = [line for line in asked["theirs"] if line not in asked["ours"]]
    extra = [line for line in asked["ours"] if line not in asked["theirs"]]
    assert (missing, extra) == ([], []), "\n".join(
        [f"docker {words}", *(f"- {line}" for line in missing), *(f"+ {line}" for line in extra)]
    )


@pytest.mark.parametrize("words", invocations("create"))
def test_create(recorder: Recorder, fake_pair: Pair, words: str) -> None:
    _compare(recorder, fake_pair, words)


@pytest.mark.parametrize("words", invocations("requests"))
def test_others(recorder: Recorder, fake_pair: Pair, words: str) -> None:
    _compare(recorder, fake_pair, words)
