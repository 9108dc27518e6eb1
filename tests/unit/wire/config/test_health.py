"""`orlop.health`: what is accepted, its normal form, and where errors point to."""

import json

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.system.config.configuration import Configuration
from orlop.system.health.plan import Check, Settings, settings
from orlop.wire.config.document import check_document
from orlop.wire.located_yaml import parse_yaml

TEXT = """\
orlop:
  health:
    settle: 1m30s
    deadline: 5m
    required:
    - {http: "https://localhost:8443/ready?a=b", name: web, status: 204, insecure: true,
       timeout: 2s}
    - {tcp: "[::1]:5432"}
    - {state: db, engine: user}
    wanted:
    - {exec: [pg_isready, -q], in: db}
"""


def test_settings() -> None:
    data = check_document(parse_yaml("h.yml", TEXT)).data
    assert check_document(parse_yaml("again.yml", json.dumps(data))).data == data
    url = "https://localhost:8443/ready?a=b"
    assert settings(Configuration(data)) == Settings(
        settle_s=90,
        deadline_s=300,
        checks=(
            Check("web", "http", url, True, status=204, insecure=True, timeout_s=2),
            Check("[::1]:5432", "tcp", "[::1]:5432", True),
            Check("db", "state", "db", True, engine="user"),
            Check("db pg_isready -q", "exec", "db", False, command=("pg_isready", "-q")),
        ),
    )
    assert settings(Configuration()) == Settings()


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ("{name: a}", "must have exactly one of state, exec, http, tcp"),
        ("{tcp: 'a:1', state: b}", "must have exactly one of"),
        ("{tcp: 'a'}", "must be HOST:PORT"),
        ("{tcp: 'a:0'}", "must be HOST:PORT"),
        ("{http: 'ftp://a/'}", "must be a URL"),
        ("{http: 'http://a:99999/'}", "must be a URL"),
        ("{http: 'http://a/ b'}", "must be a URL"),
        ("{exec: [a]}", "needs `in`"),
        ("{exec: a b, in: c}", "must be a list"),
        ("{state: a, in: b}", "belongs to exec"),
        ("{tcp: 'a:1', status: 200}", "belongs to http"),
        ("{tcp: 'a:1', engine: user}", "belongs to state and exec"),
        ("{state: a, timeout: 2h}", "must be from 0.1s to 60s"),
        ("{state: a, url: b}", "unknown key"),
    ],
)
def test_errors(check: str, problem: str) -> None:
    text = f"orlop:\n health:\n  required:\n  - {check}\n"
    with pytest.raises(InvalidArgument, match=problem) as caught:
        check_document(parse_yaml("h.yml", text))
    assert str(caught.value).startswith("h.yml:4: ")
