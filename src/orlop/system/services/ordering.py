"""In which order services start and stop, and which cannot start at all; pure.

A service starts when everything it depends on is there; services that do not depend on each other
start together. `early` services come before all others that they do not themselves wait for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.wire.compose_model import Dependency, DependencyCondition, Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orlop.wire.compose_model import ServiceDefinition


@dataclass(frozen=True, slots=True)
class Order:
    """*waits* maps every service that can start to what it waits for; *refused* says why not."""

    waits: dict[str, tuple[Dependency, ...]]
    refused: dict[str, str]


def order(definitions: Mapping[str, ServiceDefinition]) -> Order:
    """Decide what each of *definitions* waits for, and refuse what can never start."""
    waits = {
        name: _dependencies(definition, definitions) for name, definition in definitions.items()
    }
    refused: dict[str, str] = {}
    for name, definition in definitions.items():
        for dependency in definition.depends_on:
            if dependency.required and dependency.service not in definitions:
                refused[name] = f"depends on {dependency.service}, which does not exist"
    for cycle in cycles(waits):
        path = " -> ".join((*cycle, cycle[0]))
        for name in cycle:
            refused.setdefault(name, f"depends on itself: {path}")
    changed = True
    while changed:
        changed = False
        for name, dependencies in waits.items():
            blocking = next(
                (d.service for d in dependencies if d.required and d.service in refused), None
            )
            if name not in refused and blocking is not None:
                refused[name] = f"depends on {blocking}, which cannot start"
                changed = True
    startable = {
        name: tuple(d for d in dependencies if d.service not in refused)
        for name, dependencies in waits.items()
        if name not in refused
    }
    return Order(startable, refused)


def _dependencies(
    definition: ServiceDefinition, definitions: Mapping[str, ServiceDefinition]
) -> tuple[Dependency, ...]:
    """What is written, and for a normal service the early ones, which need not succeed."""
    written = [_awaited(d, definitions) for d in definition.depends_on if d.service in definitions]
    named = {d.service for d in written}
    written += [
        _awaited(Dependency(other.name, required=False), definitions)
        for other in definitions.values()
        if definition.name in other.before and other.name not in named
    ]
    if definition.stage is Stage.EARLY:
        return tuple(written)
    named = {d.service for d in written}
    early = [
        Dependency(other.name, DependencyCondition.STARTED, required=False)
        for other in definitions.values()
        if other.stage is Stage.EARLY and other.name not in named
    ]
    needed_by_early = _reachable(definitions, [d.service for d in early])
    if definition.name in needed_by_early:
        return tuple(written)
    return (*written, *early)


def _awaited(dependency: Dependency, definitions: Mapping[str, ServiceDefinition]) -> Dependency:
    """*dependency*, which waits for the end of a service that says so of itself."""
    if definitions[dependency.service].detach:
        return dependency
    return replace(dependency, condition=DependencyCondition.COMPLETED)


def _reachable(definitions: Mapping[str, ServiceDefinition], names: Iterable[str]) -> set[str]:
    """Everything that *names* depend on, directly or not."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        definition = definitions.get(todo.pop())
        for dependency in definition.depends_on if definition is not None else ():
            if dependency.service not in found:
                found.add(dependency.service)
                todo.append(dependency.service)
    return found


def cycles(waits: Mapping[str, tuple[Dependency, ...]]) -> list[tuple[str, ...]]:
    """Every set of services that wait for each other, each once, in the order of waiting."""
    found: list[tuple[str, ...]] = []
    finished: set[str] = set()
    for start in waits:
        # Depth first without recursion: a definition file may chain hundreds of services.
        path: list[str] = []
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, position = stack.pop()
            if position == 0:
                if name in finished:
                    continue
                if name in path:
                    found.append(tuple(path[path.index(name) :]))
                    continue
                path.append(name)
            dependencies = waits.get(name, ())
            if position < len(dependencies):
                stack += [(name, position + 1), (dependencies[position].service, 0)]
            else:
                finished.add(name)
                path.remove(name)
    return found


def stop_waits(definitions: Mapping[str, ServiceDefinition]) -> dict[str, tuple[str, ...]]:
    """For each service those that must have stopped before it: everything that depends on it.

    Services in a cycle stop together. Early services outlive all others.
    """
    graph = order(definitions)
    dependents: dict[str, list[str]] = {name: [] for name in definitions}
    for name, dependencies in graph.waits.items():
        for dependency in dependencies:
            dependents[dependency.service].append(name)
    return {name: tuple(names) for name, names in dependents.items()}
