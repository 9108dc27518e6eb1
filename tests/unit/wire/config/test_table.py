"""The table of keys, and everything that is made from it."""

import json
import re
from pathlib import Path

import pytest
import yaml

from orlop.wire.config import manual
from orlop.wire.config.document import check_document, leaves
from orlop.wire.config.evaluate import Evaluation, Source
from orlop.wire.config.json_schema import json_schema
from orlop.wire.config.rancher import FOREIGN, LEFT_OUT
from orlop.wire.config.table import EACH, KEYS, NAME, NAMES, Key, find, split_key
from orlop.wire.config.words import document

REPOSITORY = Path(__file__).parents[4]
INSTANCES = {
    "orlop.network.interfaces": "eth0",
    "orlop.engine.registries": "registry.example:5000",
    "orlop.services": "ssh",
}

NEEDED: dict[str, dict[str, object]] = {
    "write_files": {"path": "/x"},
    "users": {"name": "x"},
    "orlop.network.interfaces.eth0.wireguard.peers": {
        "public_key": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
    },
    "orlop.network.routes": {"to": "192.0.2.0/24", "interface": "eth0"},
    "orlop.network.rules": {"iif": "eth0", "table": 100},
}
"""What an item of a list must have."""


def path_of(key: Key) -> tuple[str, ...]:
    segments = key.segments
    return tuple(
        INSTANCES[".".join(segments[:index])] if segment == NAME else segment
        for index, segment in enumerate(segments)
    )


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_a_key(key: Key) -> None:
    assert key.what.endswith(".")
    path = path_of(key)
    assert find(path) is key
    assert EACH in path or split_key(".".join(path)) == path
    value = yaml.safe_load(key.example)
    if EACH in path:
        where = path.index(EACH)
        needed: dict[str, object] = NEEDED.get(".".join(path[:where]), {})
        item = {name: needed[name] for name in needed if name != path[-1]}
        checked = check_document(document("example", path[:where], [{**item, path[-1]: value}]))
        assert leaves(checked.data) == [path[:where]]
        return
    checked = check_document(document("example", path, value))
    assert [leaf[: len(path)] for leaf in leaves(checked.data)] == [path], key.example
    for alias in key.aliases:
        name = path[key.segments.index(NAME)] if NAME in key.segments else ""
        words = tuple(name if word == NAME else word for word in alias.split("."))
        translated = check_document(document("old", words, value))
        assert translated.data == checked.data
        assert f"{alias.replace(NAME, name)}: is called" in translated.notices[0].text
        assert not translated.notices[0].ignored


def test_names_stand_only_where_their_form_is_known() -> None:
    for key in KEYS:
        for index, segment in enumerate(key.segments):
            assert segment != NAME or key.segments[:index] in NAMES


def test_what_is_left_out_is_no_key_of_ours() -> None:
    aliases = {alias for key in KEYS for alias in key.aliases}
    assert not aliases & set(LEFT_OUT)
    assert not {key.path for key in KEYS} & set(LEFT_OUT)


def test_the_document_has_the_table() -> None:
    text = (REPOSITORY / "docs/configuration.md").read_text()
    assert manual.markdown() in text, "./orlop config reference prints what it should hold"


def test_the_man_page_is_the_table() -> None:
    page = manual.man_page()
    assert (REPOSITORY / "docs/man/orlop-config.5").read_text() == page, "./orlop config man"
    for line in page.splitlines():
        assert not re.match(r"[.'](?!TH |SH |TP$|B |I |br$|nf$|fi$)", line), line


def test_schema() -> None:
    schema = json_schema()
    properties = schema["properties"]
    assert isinstance(properties, dict)
    lists = {key.segments[0] for key in KEYS if key.segments[1:2] == (EACH,)}
    lists |= {key.path for key in KEYS if key.kind.is_list and len(key.segments) == 1}
    names = {key.segments[0] for key in KEYS}
    assert set(properties) == names | {f"{name}+" for name in lists} | FOREIGN
    assert schema["additionalProperties"] is False


HOSTILE: tuple[object, ...] = (
    *("", "x", "http://[x", "http://a:99999", "http://\u2100/", "[x", "::1/999", "1.2.3.4/33", "²"),
    *("9" * 5000, 10**30, -1, 1e400, True, None, {"": ""}, {"a": {"b": {"c": 1}}}, "a\0b", "../x"),
    *(
        "٣",
        "x" * 70_000,
        "[fe80::1%x]/64",
        "1.2.3.4/٣",
        "http://user:pw@",
        "-----BEGIN CERTIFICATE",
    ),
)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_no_value_ends_the_worker(key: Key) -> None:
    """Whatever a value is, it is taken or refused with a sentence."""
    for value in HOSTILE:
        for form in (value, [value], {"name": value}, [[value, "/mnt/a", "auto", value]]):
            data: object = form
            for segment in reversed(path_of(key)):
                data = [data] if segment == EACH else {segment: data}
            found = Evaluation()
            found.add(Source("config", "x.yml", json.dumps(data).encode()))
            assert all(isinstance(problem, str) for problem in found.problems)


def test_what_may_have_a_password_in_it_is_secret() -> None:
    assert all(key.secret for key in KEYS if "PASSWORD" in key.kind.form)
