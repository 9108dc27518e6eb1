"""A file of services that a person wrote, for any engine: what of it this system runs, and how.

Besides our own files it may be one for `docker compose`, or one of RancherOS with its services at
the top (`compose_legacy`). Keys that mean nothing for a system service are left out with a notice;
those whose loss would change what the service does are errors that say what to do instead.

Pure; input may be hostile. Source: Compose Specification.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire import compose_labels, compose_legacy
from orlop.wire.compose import parse_service
from orlop.wire.compose_values import MAX_STRING_LENGTH, Fields

if TYPE_CHECKING:
    from orlop.wire.compose_model import ServiceDefinition
    from orlop.wire.compose_values import Locate
    from orlop.wire.located_yaml import LocatedYaml

MAX_SERVICES = 64

IGNORED = {
    "container_name": "its container is called as the service",
    "expose": "ports are not exposed, a service has the machine's network or none",
    "pull_policy": "images are fetched when a service is added, and by `orlop service pull`",
    "platform": "images are those of this machine's kind",
    "attach": "see `orlop logs`",
    "develop": "there is no developing here",
    "annotations": "",
    "stop_timeout": "see stop_grace_period",
}
"""Keys of Compose that make no difference here, and why."""

UNSUPPORTED = {
    "build": "images are not built here: build and push it elsewhere, and name it with `image`",
    "env_file": "there are no files beside this one: write it as `environment`",
    "extends": "there are no files beside this one",
    "configs": "use `volumes`, and `write_files` of the configuration",
    "secrets": "use `volumes`, and `write_files` of the configuration",
    "networks": "a system service has the machine's network (network_mode: host) or none",
    "links": "a system service has the machine's network (network_mode: host) or none",
    "external_links": "a system service has the machine's network (network_mode: host) or none",
    "dns": "names are resolved as the machine does: see orlop.network.nameservers",
    "dns_search": "names are resolved as the machine does: see orlop.network.search",
    "extra_hosts": "a service has the machine's /etc/hosts",
    "gpus": "name the `devices`",
    "runtime": "there is one runtime",
    "scale": "a service has one container",
    "userns_mode": "a system service has the machine's users",
    "volumes_from": "name the `volumes`",
    "cgroup_parent": "control groups of services are all below `system`",
}
"""Keys of Compose without which a service would not be what its author meant."""

_TOP = {"name", "version", "services", "volumes", "networks"}
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<named>[A-Za-z_][A-Za-z0-9_]*)|"
    r"\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<how>:?[-?+])(?P<other>[^{}]*))?\}|(?P<wrong>))"
)


@dataclass(slots=True)
class ServicesFile:
    """What is in a file. *places* is where each service's image is named, for errors."""

    services: list[ServiceDefinition] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    profiles: dict[str, list[str]] = field(default_factory=dict)
    """Services that are only meant to run when they are asked for."""
    places: dict[str, str] = field(default_factory=dict)
    locate: dict[str, Locate] = field(default_factory=dict)


def parse_file(document: LocatedYaml, environment: Mapping[str, str] | None = None) -> ServicesFile:
    """Check the services in *document*; *environment* has values for `$NAME` in it.

    Raises:
        InvalidArgument: the first error, with file, line and key.
    """
    data = document.data
    what = "services file"
    if not isinstance(data, Mapping) or not data:
        raise InvalidArgument(f"{document.locate(())}{what}: must be a map with `services:`")
    flat = compose_legacy.is_flat(data)
    services, prefix = (data, ()) if flat else (_services(document, data), ("services",))
    if flat:
        services = {k: v for k, v in data.items() if k != "version" and not k.startswith("x-")}
    if len(services) > MAX_SERVICES:
        Fields(what, {}, (), document.locate).fail("", f"has more than {MAX_SERVICES} services")
    found = ServicesFile()
    for name, service in services.items():

        def locate(inner: tuple[str, ...], name: str = str(name)) -> str:
            return document.locate((*prefix, name, *inner))

        add_service(found, str(name), service, locate, environment, flat=flat)
    return found


def _services(document: LocatedYaml, data: Mapping[str, object]) -> Mapping[str, object]:
    fields = Fields("services file", data, (), document.locate)
    for key in fields.keys():  # noqa: SIM118 - Fields is no mapping
        if key.startswith("x-"):
            fields.take(key)
        elif key in ("configs", "secrets", "include"):
            fields.fail(key, UNSUPPORTED.get(key, "there are no files beside this one"))
    for key in _TOP - {"services"}:
        fields.take(key)
    services = fields.take("services")
    fields.finish()
    if not isinstance(services, Mapping) or not services:
        fields.fail("services", "must be a map of services")
    return services


def add_service(
    found: ServicesFile,
    name: str,
    data: object,
    locate: Locate,
    environment: Mapping[str, str] | None = None,
    *,
    flat: bool,
) -> None:
    """Check the service *name* and add it to *found*; *flat*: it is written as for RancherOS.

    Raises:
        InvalidArgument: the first error, with its place.
    """
    fields = Fields(f"service {name}", data, (), locate)
    assert isinstance(data, Mapping)
    legacy = flat or compose_legacy.has_labels(data.get("labels"))
    notices = _Notices(name, locate, found.notices)
    variables = {**(compose_legacy.VARIABLES if legacy else {}), **(environment or {})}
    values = _Variables(fields, notices, variables, lenient=legacy)
    mapping = {key: values.fill((key,), value) for key, value in data.items()}
    if legacy:
        mapping = compose_legacy.translate(mapping, notices.add, variables)
    _leave_out(mapping, fields, notices)
    compose_labels.apply(mapping, fields, notices.add)
    profiles = Fields(fields.what, {"profiles": mapping.pop("profiles", None)}, (), locate)
    if wanted := profiles.strings("profiles"):
        found.profiles[name] = [*wanted]
    for key in ("user", "working_dir", "stop_signal"):
        mapping.setdefault(key, "")  # the image's
    definition = parse_service(name, mapping, locate)
    if definition.ports and definition.network_mode != "host":
        fields.fail("ports", "needs the machine's network", "network_mode: host")
    if definition.network_mode == "none" and "network_mode" not in mapping:
        notices.add((), "has no network; network_mode: host is the machine's")
    found.services.append(definition)
    found.places[name] = locate(("image",))
    found.locate[name] = locate


def _leave_out(mapping: dict[str, object], fields: Fields, notices: _Notices) -> None:
    for key in [*mapping]:
        if key in UNSUPPORTED and mapping[key] not in (None, [], {}):
            fields.fail(key, UNSUPPORTED[key])
        if key in IGNORED:
            notices.add((key,), f"{IGNORED[key] or 'means nothing here'}, ignoring")
        if key in IGNORED or key in UNSUPPORTED or (key.startswith("x-") and key != "x-orlop"):
            del mapping[key]
    if "deploy" in mapping:
        _take_deploy(mapping, fields, notices)


def _take_deploy(mapping: dict[str, object], fields: Fields, notices: _Notices) -> None:
    """`deploy.resources` are the limits; the rest is for clusters."""
    deploy = fields.inner("deploy", mapping.pop("deploy") or {})
    resources = deploy.nested("resources")
    for kind, keys in (
        ("limits", {"cpus": "cpus", "memory": "mem_limit", "pids": "pids_limit"}),
        ("reservations", {"memory": "mem_reservation"}),
    ):
        part = None if resources is None else resources.nested(kind)
        for key, ours in keys.items():
            value = None if part is None else part.take(key)
            if value is not None:
                mapping.setdefault(ours, value)
    for key in deploy.keys():  # noqa: SIM118 - Fields is no mapping
        notices.add(("deploy", key), "is for clusters, ignoring")


class _Notices:
    def __init__(self, name: str, locate: Locate, texts: list[str]) -> None:
        self._name, self._locate, self._texts = name, locate, texts

    def add(self, path: tuple[str, ...], text: str) -> None:
        """Something to know about the key at *path*."""
        where = f"{'.'.join(path)}: " if path else ""
        self._texts.append(f"{self._locate(path)}service {self._name}: {where}{text}")


class _Variables:
    """`$NAME` and `${NAME:-default}` in all values of a service, as Compose fills them in."""

    def __init__(
        self,
        fields: Fields,
        notices: _Notices,
        environment: Mapping[str, str],
        *,
        lenient: bool,
    ) -> None:
        self._fields, self._notices = fields, notices
        self._environment, self._lenient = environment, lenient

    def fill(self, path: tuple[str, ...], value: object) -> object:
        """*value* with all of them filled in."""
        match value:
            case str() if "$" in value:
                return self._text(path, value)
            case Mapping():
                return {key: self.fill((*path, str(key)), item) for key, item in value.items()}
            case list():
                return [self.fill((*path, str(n)), item) for n, item in enumerate(value)]
        return value

    def _text(self, path: tuple[str, ...], text: str) -> str:
        filled = _VARIABLE.sub(lambda match: self._value(path, match), text)
        if len(filled) > MAX_STRING_LENGTH:
            self._fields.fail(path[0], "is too long")
        return filled

    def _value(self, path: tuple[str, ...], match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name, how, other = match["named"] or match["braced"], match["how"] or "", match["other"]
        if not name:
            self._fail(path, "holds a $ that begins no name", "$$ for a $ itself")
        value = self._environment.get(name)
        if how.startswith(":") and value == "":
            value = None
        match how[-1:]:
            case "+":
                return "" if value is None else other
            case "-" if value is None:
                return other
            case "?" if value is None:
                self._fail(path, f"needs the variable {name}: {other}", None)
        if value is None and self._lenient:
            self._notices.add(path[:1], f"the variable {name} is not set, and empty therefore")
            return ""
        if value is None:
            hint = f"${{{name}:-VALUE}} with a value for that case, or $${name} for the text itself"
            self._fail(path, f"the variable {name} is not set", hint)
        return str(value)

    def _fail(self, path: tuple[str, ...], problem: str, hint: str | None) -> None:
        place = Fields(self._fields.what, {}, path[:-1], self._fields._locate)
        place.fail(path[-1], problem, hint)
