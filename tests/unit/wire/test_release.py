"""Manifests of releases: written and read back; what is malformed names its field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.release import (
    MAX_BYTES,
    Blob,
    Delta,
    Image,
    Release,
    Service,
    format_release,
    parse_release,
)

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
RELEASE = Release(
    version="1.2.3",
    sequence=7,
    image=Image(A, 19_000_000, "0123456789abcdef", (8, 9600), (9608, 26764), "quiet panic=10"),
    extras=Blob(B, 1 << 20),
    services={
        "web": Service(f"sha256:{B}", Blob(C, 5000), "services:\n  web: {}\n", 3, handover=True),
        "syslog": Service(f"sha256:{A}"),
    },
    deltas=(Delta(C, 120_000, B),),
    minimum_sequence=4,
    not_after=1_900_000_000,
    health={"required": [{"state": "web"}, {"exec": ["ok", "-q"], "in": "web", "timeout": "3s"}]},
    dead_end="rewrite of the disk layout",
)


def document() -> dict[str, Any]:
    data = json.loads(format_release(RELEASE))
    assert isinstance(data, dict)
    return data


def test_round_trip() -> None:
    data = format_release(RELEASE)
    assert parse_release(data, "1.2.3") == RELEASE
    assert format_release(parse_release(data, "1.2.3")) == data


@pytest.mark.parametrize(
    ("health", "problem"),
    [
        ([0], "health: must be a map"),
        ({"required": [{"state": "web", "tcp": "h:1"}]}, "exactly one of state, exec, http, tcp"),
        ({"required": [{"exec": "reboot", "in": "web"}]}, "must be a list"),
        ({"demanded": []}, "demanded"),
    ],
)
def test_checks_that_are_none(health: object, problem: str) -> None:
    data = document() | {"health": health}
    with pytest.raises(InvalidArgument, match=problem):
        parse_release(json.dumps(data).encode(), "1.2.3")


def test_what_a_newer_release_says_is_left_alone() -> None:
    data = document() | {"colour": "blue"}
    assert parse_release(json.dumps(data).encode(), "1.2.3") == RELEASE


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("format",), 2, "format must be a whole number from 1 to 1"),
        (("version",), "1.2.4", "version is not 1.2.3"),
        (("sequence",), 0, "sequence must be"),
        (("sequence",), True, "sequence must be"),
        (("sequence",), 1.5, "sequence must be"),
        (("sequence",), 1 << 60, "sequence must be"),
        (("image",), [], "image must be an object"),
        (("image", "sha256"), "A" * 64, "image: sha256 is malformed"),
        (("image", "size_bytes"), 1 << 40, "image: size_bytes must be"),
        (("image", "kernel"), [8], "image: kernel must be [START, COUNT]"),
        (("image", "kernel"), [8, 1 << 40], "image: kernel must be [START, COUNT]"),
        (("image", "command_line"), "a\nb", "image: command_line is malformed"),
        (("image", "command_line"), "a" * 5000, "has more than 2048 characters"),
        (("services", "web", "digest"), "latest", "services: web: digest is malformed"),
        (("services", "web", "archive"), 5, "services: web: archive must be an object"),
        (("services", "We b"), {"digest": f"sha256:{A}"}, "not the name of a service"),
        (("deltas",), {}, "deltas must be a list"),
        (("deltas",), [{"from": A, "sha256": "x", "size_bytes": 1}], "deltas[0]: sha256"),
        (("not_after",), "2026-13-01T00:00:00Z", "not_after is no time"),
        (("not_after",), "tomorrow", "not_after is malformed"),
        (("health",), "none", "health: must be a map"),
    ],
)
def test_malformed(path: tuple[str, ...], value: object, problem: str) -> None:
    data = document()
    place = data
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(InvalidArgument) as caught:
        parse_release(json.dumps(data).encode(), "1.2.3")
    assert problem in str(caught.value)
    assert "the manifest of release 1.2.3" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no JSON document"),
        (b"[]", "must be an object"),
        (b'{"format": NaN}', "NaN is no number"),
        (b'{"format": 1, "format": 1}', "a name is there twice"),
        (b"{" + b" " * MAX_BYTES, "more than"),
        (b"\xff\xfe", "no JSON document"),
        (b'{"a":' * 100_000 + b"}", "more than"),
        (b'{"a":' * 40_000, "nested too deeply"),
    ],
)
def test_no_manifest(data: bytes, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        parse_release(data, "1.2.3")
