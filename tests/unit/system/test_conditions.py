"""Whether a service is to be started: switches, conditions, recovery."""

from pathlib import Path
from typing import Any

import pytest

from orlop.system.config.configuration import Configuration
from orlop.system.services.conditions import Conditions
from orlop.system.services.services import ServiceState
from orlop.wire.compose import parse_service


def refusal(facts: Conditions, **condition: Any) -> tuple[ServiceState, str] | None:
    return facts.refusal(parse_service("web", {"x-orlop": {"condition": condition}}))


def test_nothing_to_refuse() -> None:
    assert Conditions().refusal(parse_service("web", {})) is None


def test_any_entry_is_enough(tmp_path: Path) -> None:
    facts = Conditions("quiet orlop.debug", configuration=Configuration({"hostname": "x"}))
    nothing = str(tmp_path / "nothing")
    assert refusal(facts, path=[nothing, str(tmp_path)]) is None
    assert refusal(facts, path=nothing, configured="hostname") is None
    assert refusal(facts, kernel_parameter="orlop.debug") is None
    assert refusal(facts, path=nothing, virtio_port="no") == (
        ServiceState.SKIPPED,
        f"needs path {nothing} or virtio_port no",
    )


@pytest.mark.parametrize("value", [None, "", [], {}])
def test_an_empty_value_is_not_configured(value: Any) -> None:
    facts = Conditions(configuration=Configuration({"ssh_authorized_keys": value}))
    assert refusal(facts, configured="ssh_authorized_keys") is not None


def test_switched_off() -> None:
    facts = Conditions(disabled=frozenset({"web"}))
    found = facts.refusal(parse_service("web", {}))
    assert found == (ServiceState.DISABLED, "switched off by orlop.services.disable")
    facts = Conditions(
        configuration=Configuration({"orlop": {"services": {"web": {"enabled": False}}}})
    )
    found = facts.refusal(parse_service("web", {}))
    assert found == (ServiceState.DISABLED, "switched off by orlop.services.web.enabled")


def test_recovery_is_the_console_alone_whatever_its_conditions() -> None:
    facts = Conditions(only=frozenset({"console"}))
    assert facts.refusal(parse_service("web", {})) is not None
    console = parse_service("console", {"x-orlop": {"condition": {"path": "/nothing"}}})
    assert facts.refusal(console) is None
