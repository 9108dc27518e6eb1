"""Credentials in X-Registry-Auth and in bodies."""

import base64
import json

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.auth_config import (
    AuthConfig,
    decode_auth_header,
    parse_auth_config,
    to_json,
)

DATA = {"username": "ann", "password": "?>~ü", "serveraddress": "registry.example"}
AUTH = AuthConfig(username="ann", password="?>~ü", server_address="registry.example")


def test_header_in_either_alphabet_padded_or_not() -> None:
    data = json.dumps(DATA).encode()

    for encode in (base64.urlsafe_b64encode, base64.b64encode):
        text = encode(data).decode()
        assert decode_auth_header(text) == AUTH
        assert decode_auth_header(text.rstrip("=")) == AUTH


@pytest.mark.parametrize("header", ["", "!", "e30", "eyJ", "bnVsbA==", "W10=", "x" * 30_000])
def test_what_cannot_be_read_is_no_credentials(header: str) -> None:
    assert decode_auth_header(header) == AuthConfig()


def test_round_trip_and_silence_about_passwords() -> None:
    assert parse_auth_config(to_json(AUTH)) == AUTH
    assert "?>~" not in repr(AUTH)


@pytest.mark.parametrize("data", [[], None, {"username": 1}, {"password": "a\nb"}])
def test_refuses(data: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_auth_config(data)
