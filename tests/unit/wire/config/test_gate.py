"""`orlop.update.windows` and `.lock`: what is accepted, its normal form, where errors point to."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.config.document import check_document
from orlop.wire.located_yaml import parse_yaml


def update(text: str) -> object:
    orlop = check_document(parse_yaml("u.yml", f"orlop:\n update: {text}\n")).data["orlop"]
    assert isinstance(orlop, dict)
    return orlop["update"]


@pytest.mark.parametrize(
    ("days", "found"),
    [
        ("[mon-fri]", ["mon", "tue", "wed", "thu", "fri"]),
        ("[Sat-Mon, wed]", ["mon", "wed", "sat", "sun"]),
        ("sun", ["sun"]),
        ("[]", ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]),
    ],
)
def test_days(days: str, found: list[str]) -> None:
    text = f"{{windows: [{{days: {days}, start: '02:30', length: 1h30m}}]}}"
    normal = {"windows": [{"days": found, "start": "02:30", "length": "90m"}]}
    assert update(text) == normal
    assert update(str(normal)) == normal


def test_lock() -> None:
    text = "{lock: {url: 'https://a.example:7870/base/', group: web-1, token: t}, drain: 90s}"
    assert update(text) == {
        "lock": {"url": "https://a.example:7870/base/", "group": "web-1", "token": "t"},
        "drain": "90s",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{windows: [{days: [monday], start: '02:00', length: 1h}]}", "must be a day"),
        ("{windows: [{start: '24:00', length: 1h}]}", "must be a time of day"),
        ("{windows: [{start: '02:00'}]}", "must be a number of minutes"),
        ("{windows: [{start: '02:00', length: 200h}]}", "must be a number of minutes"),
        ("{windows: [{start: '02:00', length: 1h, end: '04:00'}]}", "unknown key"),
        ("{lock: {url: 'https://user:pw@a/'}}", "must be a URL"),
        ("{lock: {url: 'a.example'}}", "must be a URL"),
        ("{lock: {group: 'a b'}}", "must be letters"),
    ],
)
def test_errors(text: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem) as caught:
        update(text)
    assert str(caught.value).startswith("u.yml:2: ")
