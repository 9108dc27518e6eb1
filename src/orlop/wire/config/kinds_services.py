"""Kinds of the values that describe services. Pure; input may be hostile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.wire.compose_file import ServicesFile, add_service
from orlop.wire.config.environment import fill_service, plain
from orlop.wire.config.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json, ServiceDefinition
    from orlop.wire.compose_values import Fields, Locate
    from orlop.wire.config.kinds import Check

_PLACE = r"https?://[^\s/@?#]+(/[^\s?#]*)?|/[^\s]*"


def read_definition(
    name: str,
    value: object,
    locate: Locate,
    environment: Mapping[str, Json] | None = None,
    *,
    flat: bool,
) -> ServiceDefinition:
    """The service that *value* describes, with what *environment* has for its variables.

    Raises:
        InvalidArgument: it is none; says where.
    """
    found = ServicesFile()
    value = fill_service(name, value, environment or {})
    add_service(found, name, value, locate, plain(environment or {}), flat=flat)
    return found.services[0]


def _definition(*, flat: bool) -> Check:
    def check(fields: Fields, key: str) -> Json:
        value = fields.take(key)
        if not isinstance(value, dict) or "image" not in value:
            fields.fail(key, "has no image: it is no service of its own")
        name = fields.path[-1] if fields.path else "service"
        read_definition(name, value, lambda path: fields.place((key, *path)), flat=flat)
        return value

    return check


def _catalogue(fields: Fields, key: str) -> Json:
    text = fields.string(key).rstrip("/")
    if re.fullmatch(_PLACE, text) is None or ".." in text.split("/"):
        fields.fail(key, f"must be https://... or the path of a directory, not {text[:80]!r}")
    return text


FLAT = {"definition": False, "rancher": True}
"""The keys that describe a service; whether as RancherOS does."""

_MAP: dict[str, Json] = {"type": "object"}
DEFINITION = Kind("a service of a Compose file", _MAP, _definition(flat=FLAT["definition"]))
RANCHER = Kind("a service of RancherOS", _MAP, _definition(flat=FLAT["rancher"]))
CATALOGUE = Kind("URL or directory", {"type": "string"}, _catalogue)
