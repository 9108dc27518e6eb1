"""Asking for tokens, and reading them."""

import base64
from urllib.parse import parse_qs, urlsplit

import pytest

from orlop.lib.errors import OrlopError
from orlop.wire.registry.auth_config import AuthConfig
from orlop.wire.registry.token import (
    MAX_LIFETIME_S,
    Token,
    parse_token,
    plan_token_request,
    repository_scope,
)

PARAMETERS = {"realm": "https://auth.example/token?x=1", "service": "registry.example"}
SCOPES = [repository_scope("a/b", "pull", "push"), repository_scope("c", "pull")]


def test_anonymous() -> None:
    request = plan_token_request(PARAMETERS, SCOPES, AuthConfig())

    assert request.method == "GET"
    assert request.headers == {}
    parts = urlsplit(request.url)
    assert parts.netloc == "auth.example"
    assert parse_qs(parts.query) == {
        "x": ["1"],
        "service": ["registry.example"],
        "scope": ["repository:a/b:pull,push", "repository:c:pull"],
    }


def test_with_a_password() -> None:
    auth = AuthConfig(username="ann", password="pw:ü")

    request = plan_token_request(PARAMETERS, [], auth, offline=True)

    assert parse_qs(urlsplit(request.url).query)["account"] == ["ann"]
    assert parse_qs(urlsplit(request.url).query)["offline_token"] == ["true"]
    kind, _, value = request.headers["Authorization"].partition(" ")
    assert (kind, base64.b64decode(value).decode()) == ("Basic", "ann:pw:ü")


def test_with_an_identity_token() -> None:
    request = plan_token_request(PARAMETERS, SCOPES, AuthConfig(identity_token="refresh"))

    assert request.method == "POST"
    assert request.url == PARAMETERS["realm"]
    form = parse_qs(request.body.decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == ["refresh"]
    assert form["scope"] == [" ".join(SCOPES)]


@pytest.mark.parametrize("realm", ["", "token", "ftp://x/y", "https:///x"])
def test_realm_must_be_usable(realm: str) -> None:
    with pytest.raises(OrlopError, match="realm"):
        plan_token_request({"realm": realm}, [], AuthConfig())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"token":"t"}', Token("t", 60)),
        (b'{"token":"t","access_token":"a","expires_in":300}', Token("a", 300)),
        (b'{"token":"t","expires_in":5}', Token("t", 60)),
        (b'{"token":"t","expires_in":99999999}', Token("t", MAX_LIFETIME_S)),
        (b'{"token":"t","expires_in":"soon","refresh_token":"r"}', Token("t", 60, "r")),
    ],
)
def test_parse(body: bytes, expected: Token) -> None:
    assert parse_token(body) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"token":""}',
        b'{"token":1}',
        b'{"token":"a\\r\\nX: y"}',
        b"[" * 100_000,
    ],
)
def test_parse_refuses(body: bytes) -> None:
    with pytest.raises(OrlopError):
        parse_token(body)
