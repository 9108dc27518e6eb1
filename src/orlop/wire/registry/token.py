"""Registry tokens: what to ask the server that a challenge names, and what its answer means.

Source: the distribution project's token specification and the OAuth2 variant of it, used as
Docker's client does: GET with basic authentication, or POST with a refresh token if there is one.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from orlop.lib.errors import InvalidArgument, OrlopError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.wire.registry.auth_config import AuthConfig

CLIENT_ID = "docker"
MIN_LIFETIME_S = 60
"""What a token lasts at least, whatever the server says: older clients assumed as much."""

MAX_LIFETIME_S = 24 * 3600
MAX_TOKEN_LENGTH = 64 << 10


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """An HTTP request for a token; *body* is a form, empty for GET."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, how long it may be used, and a refresh token if one came with it."""

    value: str
    lifetime_s: int
    refresh_token: str = ""


def repository_scope(path: str, *actions: str) -> str:
    """`repository:library/busybox:pull`."""
    return f"repository:{path}:{','.join(actions)}"


def basic_credentials(username: str, password: str) -> str:
    """The value of an `Authorization` header."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def plan_token_request(
    parameters: Mapping[str, str], scopes: Sequence[str], auth: AuthConfig, *, offline: bool = False
) -> TokenRequest:
    """How to ask for a token with *scopes*; *offline* asks for a refresh token too.

    *parameters* are those of the bearer challenge.

    Raises:
        OrlopError: the challenge has no usable realm.
    """
    realm = parameters.get("realm", "")
    if not realm:
        raise OrlopError("no realm specified for token auth challenge")
    parts = urlsplit(realm)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OrlopError(f"invalid token auth challenge realm: {realm[:200]}")
    service = parameters.get("service", "")
    if auth.identity_token:
        form = {
            "scope": " ".join(scopes),
            "service": service,
            "client_id": CLIENT_ID,
            "grant_type": "refresh_token",
            "refresh_token": auth.identity_token,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return TokenRequest("POST", realm, headers, urlencode(form).encode())
    query = parse_qsl(parts.query, keep_blank_values=True)
    if service:
        query.append(("service", service))
    query += [("scope", scope) for scope in scopes]
    if offline:
        query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
    headers = {}
    if auth.username and auth.password:
        query.append(("account", auth.username))
        headers["Authorization"] = basic_credentials(auth.username, auth.password)
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))
    return TokenRequest("GET", url, headers)


def parse_token(body: bytes) -> Token:
    """The answer of a token server.

    Raises:
        OrlopError: not JSON, no token in it, or one that cannot be put in a header.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OrlopError(f"unable to decode token response: {error}") from error
    if not isinstance(data, dict):
        raise OrlopError("unable to decode token response: not an object")
    value = data.get("access_token") or data.get("token")
    if not isinstance(value, str) or not value:
        raise OrlopError("authorization server did not include a token in the response")
    refresh = data.get("refresh_token")
    if not isinstance(refresh, str):
        refresh = ""
    for text in (value, refresh):
        if len(text) > MAX_TOKEN_LENGTH or not text.isascii() or not (text.isprintable()):
            raise InvalidArgument("the authorization server's token is malformed")
    lifetime = data.get("expires_in")
    if not isinstance(lifetime, int) or isinstance(lifetime, bool):
        lifetime = MIN_LIFETIME_S
    return Token(value, min(max(lifetime, MIN_LIFETIME_S), MAX_LIFETIME_S), refresh)
