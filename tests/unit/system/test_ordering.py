"""Order of starting and stopping: dependencies, stages, cycles, what is missing."""

from typing import Any

from orlop.system.services.ordering import cycles, order, stop_waits
from orlop.wire.compose import ServiceDefinition, parse_service
from orlop.wire.compose_model import Dependency, DependencyCondition


def services(**data: dict[str, Any]) -> dict[str, ServiceDefinition]:
    return {name: parse_service(name, value) for name, value in data.items()}


def needs(*names: str, **extra: Any) -> dict[str, Any]:
    return {"depends_on": list(names), **extra}


EARLY = {"x-orlop": {"stage": "early"}}


def waits(found: dict[str, tuple[Dependency, ...]]) -> dict[str, list[str]]:
    return {name: [d.service for d in dependencies] for name, dependencies in found.items()}


def test_dependencies_and_stages() -> None:
    graph = order(services(syslog=EARLY, network={}, web=needs("network"), time=needs("network")))
    assert graph.refused == {}
    assert waits(graph.waits) == {
        "syslog": [],
        "network": ["syslog"],
        "web": ["network", "syslog"],
        "time": ["network", "syslog"],
    }
    assert not graph.waits["network"][0].required


def test_what_an_early_service_needs_does_not_wait_for_it() -> None:
    graph = order(services(syslog=needs("disk", **EARLY), disk={}))
    assert waits(graph.waits) == {"syslog": ["disk"], "disk": []}


def test_conditions_are_kept() -> None:
    graph = order(services(a={}, b={"depends_on": {"a": {"condition": "service_healthy"}}}))
    assert graph.waits["b"] == (Dependency("a", DependencyCondition.HEALTHY),)


def test_cycles_are_refused_and_the_rest_starts() -> None:
    graph = order(services(a=needs("b"), b=needs("c"), c=needs("a"), d=needs("a"), e={}))
    assert set(graph.waits) == {"e"}
    assert graph.refused["a"] == "depends on itself: a -> b -> c -> a"
    assert graph.refused["d"] == "depends on a, which cannot start"


def test_missing_ones() -> None:
    optional = {"depends_on": {"ghost": {"required": False}}}
    graph = order(services(a=needs("ghost"), b=needs("a"), c=optional))
    assert graph.refused == {
        "a": "depends on ghost, which does not exist",
        "b": "depends on a, which cannot start",
    }
    assert waits(graph.waits) == {"c": []}


def test_each_cycle_once_and_long_chains() -> None:
    assert cycles({"a": (Dependency("b"),), "b": (Dependency("a"),), "c": (Dependency("a"),)}) == [
        ("a", "b")
    ]
    chain = {str(n): (Dependency(str(n + 1)),) for n in range(5000)}
    assert cycles(chain) == []


def test_stopping_is_the_reverse() -> None:
    found = stop_waits(services(syslog=EARLY, network={}, web=needs("network")))
    assert found == {"syslog": ("network", "web"), "network": ("web",), "web": ()}


def test_stopping_with_a_cycle_still_names_everybody() -> None:
    found = stop_waits(services(a=needs("b"), b=needs("a"), c={}))
    assert found == {"a": (), "b": (), "c": ()}


def test_before_and_whoever_waits_for_the_end() -> None:
    definitions = {
        "first": parse_service(
            "first", {"x-orlop": {"before": ["second", "nobody"], "detach": False}}
        ),
        "second": parse_service("second", {"depends_on": ["third"]}),
        "third": parse_service("third", {"depends_on": ["first"]}),
    }
    found = order(definitions)
    done = DependencyCondition.COMPLETED
    assert found.waits == {
        "first": (),
        "second": (Dependency("third"), Dependency("first", done, required=False)),
        "third": (Dependency("first", done),),
    }
    assert stop_waits(definitions)["first"] == ("second", "third")
