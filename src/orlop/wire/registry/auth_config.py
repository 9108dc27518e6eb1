"""Credentials for a registry as Docker's clients send them: `X-Registry-Auth`, `POST /auth`."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LENGTH = 24 << 10

_KEYS = {
    "username": "username",
    "password": "password",
    "serveraddress": "server_address",
    "identitytoken": "identity_token",
    "registrytoken": "registry_token",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """Empty fields are absent ones. *identity_token* is a refresh token, *registry_token* a bearer
    token for the registry itself."""

    username: str = ""
    password: str = ""
    server_address: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"AuthConfig(username={self.username!r})"  # passwords are for no log


def decode_auth_header(header: str) -> AuthConfig:
    """`X-Registry-Auth`; what cannot be read means no credentials, as dockerd has it."""
    if not header or len(header) > MAX_LENGTH:
        return AuthConfig()
    try:
        text = header.strip().replace("+", "-").replace("/", "_").rstrip("=")
        data = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return parse_auth_config(data)
    except (ValueError, binascii.Error, RecursionError, InvalidArgument):
        return AuthConfig()


def parse_auth_config(data: object) -> AuthConfig:
    """The JSON object; unknown keys are ignored, keys may be in any case.

    Raises:
        InvalidArgument: not an object of strings, or characters no header can carry.
    """
    if not isinstance(data, dict):
        raise InvalidArgument("invalid credentials: an object expected")
    fields: dict[str, str] = {}
    for key, value in data.items():
        name = _KEYS.get(key.lower()) if isinstance(key, str) else None
        if name is None or value is None:
            continue
        if not isinstance(value, str) or len(value) > MAX_LENGTH:
            raise InvalidArgument(f"invalid credentials: {key}: a string expected")
        if any(ord(c) < 32 for c in value):
            raise InvalidArgument(f"invalid credentials: {key}: control characters")
        fields[name] = value
    return AuthConfig(**fields)


def to_json(auth: AuthConfig) -> Mapping[str, str]:
    """What `parse_auth_config` reads."""
    return {key: value for key, name in _KEYS.items() if (value := getattr(auth, name))}
