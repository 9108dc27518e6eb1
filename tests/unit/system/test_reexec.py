"""When PID 1 does not execute itself anew, and what is left of the attempt then."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.system.boot import Boot
from orlop.system.early import Early
from orlop.system.power import Power, PowerAction

if TYPE_CHECKING:
    from collections.abc import Iterator


class Engine:
    """The part of the engine that takes part."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def prepare_reexec(self) -> dict[str, Any]:
        os.set_inheritable(self._descriptor, True)
        return {"sockets": {"sock": self._descriptor}}

    def abandon_reexec(self, handed_over: dict[str, Any]) -> None:
        os.set_inheritable(handed_over["sockets"]["sock"], False)


async def stop_engine() -> None:
    """There is none."""


@pytest.fixture
def descriptor() -> Iterator[int]:
    opened = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    yield opened
    os.close(opened)


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []

    def refuse(path: str, _argv: list[str]) -> None:
        calls.append(path)
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(os, "execv", refuse)
    return calls


@pytest.fixture
def boot(descriptor: int) -> Boot:
    made: Any = Boot(Early())
    made.engine = Engine(descriptor)
    made.services = SimpleNamespace(statuses=list)
    made.power_socket = SimpleNamespace(descriptor=descriptor)
    made.power = Power(made.machine, stop_engine=stop_engine)
    return made  # type: ignore[no-any-return]  # a Boot, whose parts are not


def test_after_a_failed_attempt_nothing_is_inherited(
    boot: Boot, executed: list[str], descriptor: int
) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    boot.reexec()
    assert len(executed) == 1
    assert "Cannot allocate memory" in boot.machine.warnings[-1]
    assert not os.get_inheritable(descriptor)
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_not_while_the_machine_goes_down(boot: Boot, executed: list[str]) -> None:
    """The new copy would not know of it, and the machine would stay up without its containers."""
    boot.power.request(PowerAction.POWEROFF, "a test")
    boot.reexec()
    assert executed == []
