"""Registry errors in dockerd's words."""

import json

import pytest

from orlop.lib.errors import NotFound, OrlopError, Unauthorized
from orlop.wire.registry.challenge import parse_challenges
from orlop.wire.registry.errors import (
    RefusedByRegistry,
    UnexpectedStatus,
    parse_error,
    translate_login_error,
    translate_pull_error,
)
from orlop.wire.registry.reference import parse_reference

JSON = "application/json; charset=utf-8"
REFERENCE = parse_reference("team/app:1")


def refusal(code: str, message: str = "", status: int = 404) -> RefusedByRegistry:
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": {}}]}).encode()
    error = parse_error(status, "Not Found", JSON, body, [])
    assert isinstance(error, RefusedByRegistry)
    return error


@pytest.mark.parametrize(
    ("code", "message", "text"),
    [
        (
            "MANIFEST_UNKNOWN",
            "manifest unknown",
            "manifest for team/app:1 not found: manifest unknown: manifest unknown",
        ),
        (
            "DENIED",
            "",
            (
                "pull access denied for team/app, repository does not exist or may require "
                "'docker login': denied: requested access to the resource is denied"
            ),
        ),
        (
            "NAME_UNKNOWN",
            "",
            "repository team/app not found: name unknown: repository name not known to registry",
        ),
    ],
)
def test_what_is_not_found(code: str, message: str, text: str) -> None:
    translated = translate_pull_error(refusal(code, message), REFERENCE)

    assert isinstance(translated, NotFound)
    assert str(translated) == text


def test_others_stay_what_they_are() -> None:
    error = refusal("TOOMANYREQUESTS", "slow down", 429)

    assert translate_pull_error(error, REFERENCE) is error
    assert str(error) == "toomanyrequests: slow down"
    assert str(refusal("SOMETHING", "odd")) == "unknown: odd"


def test_insufficient_scope_is_a_denial() -> None:
    challenges = parse_challenges(
        ['Bearer realm="https://a/t",service="s",error="insufficient_scope"']
    )
    body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'

    error = parse_error(401, "Unauthorized", JSON, body, challenges)

    assert isinstance(error, RefusedByRegistry)
    assert error.code == "DENIED"
    assert str(error).startswith("errors:\ndenied: requested access")
    assert str(translate_pull_error(error, REFERENCE)).endswith(
        "denied: requested access to the resource is denied"
    )


@pytest.mark.parametrize(
    ("status", "kind", "body", "text"),
    [
        (500, JSON, b"{}", "received unexpected HTTP status: 500 Reason"),
        (502, "", b"", "received unexpected HTTP status: 502 Reason"),
        (404, "text/plain", b"404 page not found\n", "unknown: 404 page not found"),
        (403, "", b"no\x1b[31m", "denied: no[31m"),
        (429, "text/html", b"wait", "toomanyrequests: wait"),
        (401, JSON, b"{", "unauthorized: authentication required"),
        (400, JSON, b"{}", "error parsing HTTP 400 response body: no error details found in"),
        (400, JSON, b"[" * 70_000, "error parsing HTTP 400 response body: "),
        (400, JSON, b'{"details":"odd"}', "unknown: odd"),
        (404, JSON, b'{"errors":[3]}', "unknown: unknown error"),
    ],
)
def test_odd_answers(status: int, kind: str, body: bytes, text: str) -> None:
    error = parse_error(status, "Reason", kind, body, [])

    assert isinstance(error, RefusedByRegistry | UnexpectedStatus)
    assert str(error).startswith(text)
    assert error.status == status


def test_every_prefix_of_a_body() -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": "no"}]}).encode()

    for end in range(len(body) + 1):
        assert isinstance(parse_error(403, "x", JSON, body[:end], []), OrlopError)


def test_login() -> None:
    error = refusal("UNAUTHORIZED", "incorrect username or password", 401)

    translated = translate_login_error(error, "https://registry.example/v2/")

    assert isinstance(translated, Unauthorized)
    assert str(translated) == (
        'Get "https://registry.example/v2/": unauthorized: incorrect username or password'
    )
