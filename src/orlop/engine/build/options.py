"""What `POST /build` is asked to do: its query parameters, checked. Pure.

Source: Docker Engine API 1.47, "Build an image"; dockerd 28, api/server/router/build.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.wire.registry.reference import Reference

MAX_ITEMS = 1000
DEFAULT_DOCKERFILE = "Dockerfile"
_TRUE = frozenset({"1", "true", "True", "TRUE", "t", "T", "yes", "on"})

BUILDKIT_HINT = (
    "this engine builds Dockerfiles itself and has no BuildKit: set DOCKER_BUILDKIT=0 to use its "
    "builder"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """*host_config* is what each RUN is limited by, as `HostConfig` of a container has it."""

    references: tuple[Reference, ...] = ()
    dockerfile: str = DEFAULT_DOCKERFILE
    remote: str = ""
    quiet: bool = False
    no_cache: bool = False
    pull: bool = False
    remove: bool = True
    force_remove: bool = False
    arguments: Mapping[str, str | None] = field(default_factory=dict)
    labels: tuple[tuple[str, str], ...] = ()
    cache_from: tuple[str, ...] = ()
    """Images that steps may be taken from, and no others; empty: from whatever was built here."""
    target: str = ""
    platform: str = ""
    network: str = "default"
    host_config: Mapping[str, Any] = field(default_factory=dict)


def parse_options(query: Mapping[str, Sequence[str]]) -> BuildOptions:
    """The options in *query*, each parameter with its values.

    Raises:
        InvalidArgument: one is wrong, or needs what this engine has not.
    """

    def text(key: str) -> str:
        return query.get(key, [""])[0]

    def flag(key: str, *, default: bool = False) -> bool:
        return text(key) in _TRUE if key in query else default

    if text("version") == "2":
        raise InvalidArgument(BUILDKIT_HINT)
    if flag("squash"):
        raise InvalidArgument("squash is only supported with experimental mode")
    outputs = text("outputs")
    if outputs not in ("", "[]", "null"):
        raise InvalidArgument(f"custom outputs require BuildKit: {BUILDKIT_HINT}")
    if text("isolation") not in ("", "default"):
        raise InvalidArgument(f"Unsupported isolation: {text('isolation')[:80]}")
    labels = _object(text("labels"), "labels")
    return BuildOptions(
        references=_references(query.get("t", ())),
        dockerfile=text("dockerfile") or DEFAULT_DOCKERFILE,
        remote=text("remote"),
        quiet=flag("q"),
        no_cache=flag("nocache"),
        pull=flag("pull"),
        remove=flag("rm", default=True),
        force_remove=flag("forcerm"),
        arguments=_object(text("buildargs"), "buildargs"),
        labels=tuple(sorted((key, value or "") for key, value in labels.items())),
        cache_from=tuple(map(str, _list([text("cachefrom")], "cachefrom")))
        if text("cachefrom")
        else (),
        target=text("target"),
        platform=text("platform"),
        network=text("networkmode") or "default",
        host_config=_host_config(query),
    )


def _references(names: Sequence[str]) -> tuple[Reference, ...]:
    found: dict[str, Reference] = {}
    for name in names[:MAX_ITEMS]:
        if not name:
            continue
        reference = parse_reference(name)
        if reference.digest:
            raise InvalidArgument("build tag cannot contain a digest")
        reference = reference.with_default_tag()
        found.setdefault(str(reference), reference)
    return tuple(found.values())


def _object(text: str, what: str) -> dict[str, str | None]:
    """A JSON object of strings, or of nulls, which stand for nothing given."""
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"error reading {what}: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise InvalidArgument(f"error reading {what}: an object expected")
    if not all(item is None or isinstance(item, str) for item in value.values()):
        raise InvalidArgument(f"error reading {what}: strings expected")
    return value


_NUMBERS = {
    "memory": "Memory",
    "memswap": "MemorySwap",
    "cpushares": "CpuShares",
    "cpuperiod": "CpuPeriod",
    "cpuquota": "CpuQuota",
    "shmsize": "ShmSize",
}
_TEXTS = {
    "cpusetcpus": "CpusetCpus",
    "cpusetmems": "CpusetMems",
    "cgroupparent": "CgroupParent",
}


def _host_config(query: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for key, name in _NUMBERS.items():
        text = query.get(key, [""])[-1]
        if text:
            digits = text.removeprefix("-")
            if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
                raise InvalidArgument(f"{key}: {text[:40]!r} is not a number")
            if int(text):
                config[name] = int(text)
    for key, name in _TEXTS.items():
        text = query.get(key, [""])[-1]
        if text:
            config[name] = text
    hosts = [host for value in query.get("extrahosts", ()) for host in value.split(",") if host]
    if hosts:
        config["ExtraHosts"] = hosts[:MAX_ITEMS]
    security = [option for option in query.get("securityopt", ()) if option]
    if security:
        config["SecurityOpt"] = _list(security, "securityopt")
    ulimits = query.get("ulimits", [""])[-1]
    if ulimits:
        config["Ulimits"] = _list([ulimits], "ulimits")
    return config


def _list(values: Sequence[str], what: str) -> list[Any]:
    """A JSON list, in one value; or values that are the list themselves."""
    if len(values) == 1 and values[0].lstrip().startswith(("[", "null")):
        try:
            items = json.loads(values[0])
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(f"error reading {what}: {error}") from error
        return items[:MAX_ITEMS] if isinstance(items, list) else []
    return list(values)
