"""`orlop.environment` in services files."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import Json
from orlop.wire.config.document import check_document, merge
from orlop.wire.config.environment import values_of
from orlop.wire.config.evaluate import Source, evaluate
from orlop.wire.config.secrets import hide, split
from orlop.wire.config.table import SECRETS
from orlop.wire.located_yaml import parse_yaml

SERVICES = b"""\
services:
  etcd:
    image: base
    environment: [TOKEN, "ETCD_*", PLAIN=1, NOWHERE]
  web:
    image: base
    environment: {TOKEN: null, NOWHERE: null, PLAIN: 2}
"""
CONFIG = b"""\
rancher:
  environment:
    TOKEN: common
    etcd/TOKEN: own
    ETCD_NAME: one
    ETCD_PEERS: 2
    web/ETCD_X: not for etcd
    FLAG: true
"""


def environment_of(service: str, *sources: Source) -> Json:
    found = evaluate(sources)
    assert found.problems == []
    entry = found.services[service]
    assert isinstance(entry, dict)
    definition = entry["definition"]
    assert isinstance(definition, dict)
    return definition.get("environment", {})


def test_values_of_the_configuration() -> None:
    # Whatever the order: the configuration is known before the services are read.
    sources = Source("services", "s.yml", SERVICES), Source("config", "c.yml", CONFIG)
    assert environment_of("etcd", *sources) == {
        "TOKEN": "own",
        "ETCD_NAME": "one",
        "ETCD_PEERS": "2",
        "PLAIN": "1",
    }
    assert environment_of("web", *sources) == {"TOKEN": "common", "PLAIN": "2"}


def test_without_any_what_has_no_value_is_left_out() -> None:
    assert environment_of("etcd", Source("services", "s.yml", SERVICES)) == {"PLAIN": "1"}
    assert environment_of("web", Source("services", "s.yml", SERVICES)) == {"PLAIN": "2"}


def test_names() -> None:
    known: dict[str, Json] = {"A_X": "1", "s/A_Y": "2", "s/B": "3", "B": "4"}
    assert values_of("A_*", "s", known) == {"A_Y": "2"}
    assert values_of("A_*", "t", known) == {"A_X": "1"}
    assert values_of("B", "s", known) == {"B": "3"}
    assert values_of("*", "t", {"A": "1", "s/B": "2"}) == {"A": "1"}


def test_values_are_not_shown() -> None:
    data = check_document(parse_yaml("c.yml", CONFIG.decode())).data
    assert "common" not in repr(hide(data, SECRETS))
    public, secret = split(data, SECRETS)
    assert "own" not in repr(public)
    assert merge(public, secret) == data


@pytest.mark.parametrize("name", ["a b", "1A", "A/b/c", "S/A", "/A"])
def test_wrong_names(name: str) -> None:
    text = f"orlop:\n environment:\n  {name!r}: x\n"
    with pytest.raises(InvalidArgument, match=r"^c.yml:3: .*must be NAME or SERVICE/NAME"):
        check_document(parse_yaml("c.yml", text))
