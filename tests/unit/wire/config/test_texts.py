"""Values as YAML, and secrets taken out of them."""

from typing import Any

import pytest

from orlop.wire.config.document import merge
from orlop.wire.config.secrets import hide, split
from orlop.wire.config.yaml_text import yaml_lines
from orlop.wire.located_yaml import parse_yaml

TEXTS = (
    *("", "a", "yes", "null", "1", "0x1", "1e3", "a b", "a: b", "- a", "#", "a #b", '"', "\\", "'"),
    *("tab\there", "\x07", "\u200b", "\ue000", "\U0001f600", "\U000e0001", "é", "~", "=", "<<"),
    *("a\nb", "a\nb\n", "a\n\nb\n\n", " a\nb", "\na", "a\n b\n", "a\n\n", "\n", "a\r\nb\n"),
    *("a\n\t b",),
    *("/", "/etc/x", "a/b", "e1", "x.1", "//", "/-", "ship-1.ex", "0/1", "a..", "a:"),
    *("- x\n- y\n", "a\n#b\n", "2026-01-01", "12:30:00", "a" * 3000, "%a", "@a", "!a", "&a", "*a"),
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back(text: str) -> None:
    value = {"key": text, "list": [text, {"in": text}], "map": {"k" + text[:20].strip(): text}}
    lines = yaml_lines(value)
    assert parse_yaml("t", "".join(f"{line}\n" for line in lines)).data == value


def test_other_values() -> None:
    value = {"a": [], "b": {}, "c": [[1, 2], [], {}], "d": 1.5, "e": True, "f": None, "g": -1}
    assert parse_yaml("t", "\n".join(yaml_lines(value))).data == value
    assert yaml_lines({"script": "#!/bin/sh\necho\n"}) == ["script: |", "  #!/bin/sh", "  echo"]


DATA: dict[str, Any] = {
    "users": [{"name": "a", "passwd": "x"}, {"name": "b"}],
    "wifi": {"home": {"psk": "y", "ssid": "z"}},
    "keys+": ["k"],
    "other": 1,
}
PATTERNS = (("users", "[]", "passwd"), ("wifi", "NAME", "psk"), ("keys",), ("gone", "NAME", "x"))


def test_hide() -> None:
    data = {**DATA, "keys": ["k"]}
    assert hide(data, PATTERNS) == {
        "users": [{"name": "a", "passwd": "(hidden)"}, {"name": "b"}],
        "wifi": {"home": {"psk": "(hidden)", "ssid": "z"}},
        "keys+": ["k"],
        "keys": "(hidden)",
        "other": 1,
    }
    assert hide(data, PATTERNS, leave_out=True) == {
        "users": [{"name": "a"}, {"name": "b"}],
        "wifi": {"home": {"ssid": "z"}},
        "keys+": ["k"],
        "other": 1,
    }
    assert data["users"] == DATA["users"]
    nested: dict[str, Any] = {"wifi": {"home": {"psk": "y"}}, "other": {}}
    assert hide(nested, PATTERNS, leave_out=True) == {"other": {}}


def test_split() -> None:
    public, secret = split(DATA, PATTERNS)
    assert public == {"wifi": {"home": {"ssid": "z"}}, "other": 1}
    assert secret == {"users": DATA["users"], "wifi": {"home": {"psk": "y"}}, "keys+": ["k"]}
    assert merge(public, secret) == DATA
    assert split({"users": [{"name": "b"}]}, PATTERNS) == ({"users": [{"name": "b"}]}, {})
