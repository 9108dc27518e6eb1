"""`orlop.environment`: values for the variables that a services file names without one.

As RancherOS has it: `NAME` in `environment:` of service S gets the value of `S/NAME`, or else of
`NAME`; `PREFIX_*` stands for all whose names begin so. A variable that nobody knows is left out, as
Compose does it. The engine's proxies are such variables too. Pure.

Source: RancherOS 1.5.8 pkg/docker/env.go.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.wire.config.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields
    from orlop.wire.located_yaml import LocatedYaml

_NAME = r"([a-z0-9][a-z0-9_.-]{0,62}/)?[A-Za-z_][A-Za-z0-9_.-]{0,127}"
ANY = "*"


def check(fields: Fields, key: str) -> Json:
    """A map of `NAME` or `SERVICE/NAME` to values."""
    inner = fields.inner(key, fields.take(key))
    found: dict[str, Json] = {}
    for name in inner.keys():  # noqa: SIM118 - Fields is no mapping
        if re.fullmatch(_NAME, name) is None:
            inner.fail(name, "must be NAME or SERVICE/NAME")
        value = inner.take(name)
        is_flag = isinstance(value, bool)
        found[name] = str(value).lower() if is_flag else inner.check_string(name, value)
    return found


ENVIRONMENT = Kind(
    "map of [SERVICE/]NAME: VALUE",
    {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
    check,
)


def fill(document: LocatedYaml, environment: Mapping[str, Json]) -> LocatedYaml:
    """The services file *document* with the values that its services do not say themselves."""
    data = document.data
    if not isinstance(data, dict):
        return document
    below = data.get("services")
    services = below if isinstance(below, dict) else data
    filled = {name: fill_service(str(name), entry, environment) for name, entry in services.items()}
    return replace(document, data={**data, "services": filled} if services is below else filled)


def proxies(engine: Mapping[str, Json]) -> dict[str, Json]:
    """The variables of the proxies in *engine*, `orlop.engine`, in lower and upper case."""
    found: dict[str, Json] = {}
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        value = engine.get(name)
        if value:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            found |= {name: text, name.upper(): text}
    return found


def plain(environment: Mapping[str, Json]) -> dict[str, str]:
    """What `$NAME` in a services file stands for: the values that are for all services."""
    return {name: str(value) for name, value in environment.items() if "/" not in name}


def fill_service(name: str, entry: object, environment: Mapping[str, Json]) -> object:
    """The service *entry* of that *name* with its values."""
    written = entry.get("environment") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(written, dict | list):
        return entry
    if isinstance(written, list):
        if all(isinstance(item, str) and "=" in item for item in written):
            return entry
        items: list[object] = []
        for item in written:
            if isinstance(item, str) and "=" not in item:
                items += [f"{k}={v}" for k, v in values_of(item, name, environment).items()]
            else:
                items.append(item)
        return {**entry, "environment": items}
    variables: dict[object, object] = {}
    for key, value in written.items():
        if value is None:
            variables.update(values_of(str(key), name, environment).items())
        else:
            variables[key] = value
    return {**entry, "environment": variables}


def values_of(wanted: str, service: str, environment: Mapping[str, Json]) -> dict[str, str]:
    """The variables that *wanted*, a name or `PREFIX*`, stands for in *service*."""
    for full in (f"{service}/{wanted}", wanted):
        if full.endswith(ANY):
            prefix = full.removesuffix(ANY)
            names = [n for n in environment if n.startswith(prefix) and ("/" in n) == ("/" in full)]
        else:
            names = [full] if full in environment else []
        if names:
            return {name.rpartition("/")[2]: str(environment[name]) for name in names}
    return {}
