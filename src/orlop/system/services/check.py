"""Whether services that somebody brings can be beside those that are there. Pure.

All that can be known before anything is started: names, what they depend on, cycles, ports.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.system.services.ordering import cycles, order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orlop.wire.compose_file import ServicesFile
    from orlop.wire.compose_model import ServiceDefinition


RESERVED = frozenset({"bootcmd", "runcmd", "rc-local", "shell", "shell.trial"})
"""Services that the system has when the configuration, or a person's console, wants them."""

MIN_NAME = 2
"""As Docker has it."""


@dataclass(frozen=True, slots=True)
class Present:
    """What is there: all services, the file that each is from (not for the system's own), and
    which of them are enabled."""

    services: Mapping[str, ServiceDefinition] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    enabled: frozenset[str] = frozenset()


def check(found: ServicesFile, present: Present, *, enabling: bool) -> list[str]:
    """Check *found*; the files that it replaces, as it has all services that they have.

    Raises:
        InvalidArgument: with file, line and key.
    """
    names = [service.name for service in found.services]
    for name in sorted(RESERVED.intersection(names)):
        _fail(found, name, (), "the system has a service of that name")
    for name in names:
        if len(name) < MIN_NAME:
            _fail(found, name, (), f"a container's name has {MIN_NAME} characters or more")
    replaced = _replaced_files(found, present)
    others = {
        name: service
        for name, service in present.services.items()
        if name not in names and present.files.get(name) not in replaced
    }
    together = {**others, **{service.name: service for service in found.services}}
    for service in found.services:
        for dependency in service.depends_on:
            if dependency.required and dependency.service not in together:
                _fail(
                    found,
                    service.name,
                    ("depends_on", dependency.service),
                    f"there is no service {dependency.service}",
                )
    graph = order(together)
    for cycle in cycles({name: service.depends_on for name, service in together.items()}):
        _fail_of_cycle(found, cycle, names)
    for name in names:
        if name in graph.refused:
            _fail(found, name, ("depends_on",), graph.refused[name])
    enabled = [service for name, service in others.items() if name in present.enabled]
    _check_ports(found, enabled if enabling else [])
    return replaced


def _replaced_files(found: ServicesFile, present: Present) -> list[str]:
    names = {service.name for service in found.services}
    replaced: dict[str, None] = {}
    for name in names & present.services.keys():
        file = present.files.get(name, "")
        if not file:
            _fail(found, name, (), "the system has a service of that name")
        left = {other for other, of in present.files.items() if of == file} - names
        if left:
            hint = f"orlop service rm {' '.join(sorted(left | {name}))}"
            _fail(found, name, (), f"there is one already, in {file} with others", hint)
        replaced[file] = None
    return [*replaced]


def _fail_of_cycle(found: ServicesFile, cycle: Iterable[str], names: list[str]) -> None:
    cycle = [*cycle]
    own = next((name for name in cycle if name in names), None)
    if own is None:
        return  # it was there before, and is somebody else's
    at = cycle.index(own)
    path = [*cycle[at:], *cycle[:at], own]
    _fail(found, own, ("depends_on", path[1]), f"they wait for each other: {' -> '.join(path)}")


def _check_ports(found: ServicesFile, others: Iterable[ServiceDefinition]) -> None:
    taken = [(port, service.name) for service in others for port in service.ports]
    for service in found.services:
        for port in service.ports:
            for other, name in taken:
                if port.clashes_with(other):
                    _fail(found, service.name, ("ports",), f"{port} is that of service {name}")
        taken += [(port, service.name) for port in service.ports]


def _fail(
    found: ServicesFile, name: str, path: tuple[str, ...], problem: str, hint: str | None = None
) -> None:
    where = f"{path[0]}: " if path else ""
    place = found.locate[name](path)
    raise InvalidArgument(f"{place}service {name}: {where}{problem}", hint=hint)
