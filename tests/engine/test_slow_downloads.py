"""Services whose images take long to come, with PID 1 as a whole in namespaces."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from tests.engine.native_machine import NativeMachine
from tests.engine.test_added_services import STAY, WEB, add, inside, service, state_of

pytestmark = [pytest.mark.root, pytest.mark.engine]


def test_who_waits_for_a_registry_keeps_nobody_waiting() -> None:
    with NativeMachine({"base": STAY}) as machine:
        machine.wait_ready()
        check(machine)


def check(machine: NativeMachine) -> None:
    machine.keep("/var/lib/orlop/images")
    listener = inside(machine, lambda: socket.create_server(("127.0.0.1", 5000)))
    listener.settimeout(60)
    slow = WEB.replace("web:", "slow:").replace("image: base", "image: 127.0.0.1:5000/far/app:1")
    answers: list[tuple[int, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(add(machine, slow)))
    thread.start()
    connection, _ = listener.accept()
    assert add(machine, WEB, enable=True)[0] == 200
    machine.wait_for(state_of("web", "running"))
    assert machine.request("POST", "/orlop/services/disable", {"names": ["web"]})[0] == 200
    listener.close()
    connection.close()
    thread.join()
    [(code, answer)] = answers
    assert code >= 400
    assert "service slow: image: " in answer["message"]
    assert service(machine.wait_ready(), "slow") == {}
