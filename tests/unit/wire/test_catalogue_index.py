"""What a catalogue's index says, and what becomes of one that is nonsense."""

import json

import pytest

from orlop.lib.errors import InvalidArgument, NotFound
from orlop.wire import catalogue_index

ENTRY = {
    "description": "cron",
    "definition": "services/cron.yml",
    "sha256": "ab",
    "images": {"cron:1": {"archive": "cron.tar", "digest": "sha256:cd", "size_bytes": 7}},
}
INDEX = json.dumps({"services": {"cron": ENTRY}, "news": [1], "engines": 7})


def test_what_is_offered() -> None:
    assert catalogue_index.read("/c", INDEX) == {
        "services": {"cron": ENTRY},
        "consoles": {},
        "engines": {},
    }
    assert catalogue_index.choose("/c", INDEX, "services", "cron") == ENTRY


def test_one_that_is_not_there() -> None:
    with pytest.raises(NotFound, match=r"/c has no crom \(did you mean cron\?\)"):
        catalogue_index.choose("/c", INDEX, "services", "crom")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\0"])
def test_no_json(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^/c/index\.json: no JSON"):
        catalogue_index.read("/c", text)


def test_nonsense_is_left_out_and_nothing_is_without_limit() -> None:
    wild = {"services": {"a": {"definition": 7, "images": {"x": [], "y": {"size_bytes": "1"}}}}}
    [entry] = catalogue_index.read("/c", json.dumps(wild))["services"].values()  # type: ignore[union-attr]
    assert entry["definition"] == "7"  # type: ignore[index,call-overload]
    many = {"services": {f"s{n}": {"description": "x" * 9999} for n in range(9999)}}
    found = catalogue_index.read("/c", json.dumps(many))["services"]
    assert isinstance(found, dict)
    assert len(found) == catalogue_index.MAX_ENTRIES
    assert len(json.dumps(found)) < 4 << 20
