"""Tables, sizes, times, indented JSON and progress as docker draws them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orlop.cli.docker import human, progress
from orlop.cli.docker.images import flat
from orlop.cli.docker.json_indent import indent
from orlop.cli.docker.network_ls import natural_key
from orlop.cli.docker.ps import ports_text
from orlop.cli.docker.tabwriter import align

if TYPE_CHECKING:
    from orlop.cli.docker.session import Object


def test_columns() -> None:
    assert align("A\tLONGER TITLE\tC\nxxxxxxxxxxxx\t\tz") == (
        "A              LONGER TITLE   C\nxxxxxxxxxxxx                  z"
    )
    # A line without the cell ends the column's block.
    assert align("aaaaaaaaaaaa\tb\nno cells\nc\td") == "aaaaaaaaaaaa   b\nno cells\nc         d"


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0B"), (999, "999B"), (1000, "1kB"), (1234567, "1.235MB"), (1e12, "1TB")],
)
def test_sizes(size: float, shown: str) -> None:
    assert human.decimal_size(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (47 * 3600, "47 hours"),
        (13 * 86400, "13 days"),
        (59 * 86400, "8 weeks"),
        (700 * 86400, "23 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert human.duration(seconds) == shown


@pytest.mark.parametrize(
    "value", [[], {}, [{}], {"a": [1, {"b": '\\"x{'}], "c": None}, "x", [[1, 2]]]
)
def test_json_is_indented_as_it_was(value: object) -> None:
    assert indent(json.dumps(value)) == json.dumps(value, indent=4)


def test_json_keeps_its_escapes() -> None:
    assert indent('{"a":"\\u003c\\\\"}') == '{\n    "a": "\\u003c\\\\"\n}'


def test_ports_are_grouped() -> None:
    ports: list[Object] = [
        {"PrivatePort": 81, "Type": "tcp"},
        {"PrivatePort": 80, "Type": "tcp"},
        {"PrivatePort": 90, "Type": "tcp"},
        {"PrivatePort": 53, "PublicPort": 53, "IP": "0.0.0.0", "Type": "udp"},
        {"PrivatePort": 5, "PublicPort": 6, "IP": "::", "Type": "tcp"},
    ]
    assert ports_text(ports) == "80-81/tcp, 0.0.0.0:53->53/udp, 90/tcp, :::6->5/tcp"


def test_images_have_a_row_for_each_tag() -> None:
    image: Object = {"RepoTags": ["a:1", "a:2", "b:1"], "RepoDigests": ["a@x", "c@y"]}
    rows = [(row["repository"], row["tag"], row["digest"]) for row in flat(image, digests=True)]
    assert rows == [
        *(("a", "1", "x"), ("a", "2", "x"), ("b", "1", "<none>"), ("c", "<none>", "y")),
    ]
    assert [row["repository"] for row in flat({}, digests=False)] == ["<none>"]


def test_names_in_the_order_of_numbers() -> None:
    assert sorted(["net10", "net2", "bridge"], key=natural_key) == ["bridge", "net2", "net10"]


def test_progress_on_a_terminal_redraws_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_columns", lambda: 200)
    screen = progress.Screen(1, is_terminal=True)
    first = screen.text_of({"id": "a", "status": "Pulling", "progressDetail": {}})
    assert first == "\n\x1b[1A\x1b[2K\ra: Pulling \r\x1b[1B"
    screen.text_of({"id": "b", "status": "Waiting", "progressDetail": {}})
    half = {"current": 500, "total": 1000}
    again = screen.text_of({"id": "a", "status": "Downloading", "progressDetail": half})
    assert again == (
        "\x1b[2A\x1b[2K\ra: Downloading [" + "=" * 25 + ">" + " " * 25 + "]     500B/1kB\r\x1b[2B"
    )


def test_progress_elsewhere_is_lines() -> None:
    screen = progress.Screen(1, is_terminal=False)
    half = {"current": 1, "total": 2}
    assert screen.text_of({"id": "a", "status": "Downloading", "progressDetail": half}) == ""
    assert screen.text_of({"id": "b", "status": "Done"}) == "b: Done\n"
    assert screen.text_of({"stream": "Step 1\n"}) == "Step 1\n"
