"""`X-Registry-Config`: the client's credentials for every registry that a build may pull from."""

from __future__ import annotations

import base64
import binascii
import json

from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.auth_config import AuthConfig, parse_auth_config
from orlop.wire.registry.reference import DEFAULT_DOMAIN, LEGACY_DOMAIN


def credentials_for(header: str, domain: str) -> AuthConfig:
    """Those for the registry *domain*; none if there are none, or the header cannot be read."""
    try:
        text = header.strip().replace("+", "-").replace("/", "_").rstrip("=")
        data = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return AuthConfig()
    if not isinstance(data, dict):
        return AuthConfig()
    wanted = {domain}
    if domain == DEFAULT_DOMAIN:
        wanted.add(LEGACY_DOMAIN)
    for address, fields in data.items():
        # `https://index.docker.io/v1/` is how clients call the default one.
        host = address.removeprefix("https://").removeprefix("http://").partition("/")[0]
        if host in wanted:
            try:
                return parse_auth_config(fields)
            except InvalidArgument:
                return AuthConfig()
    return AuthConfig()
