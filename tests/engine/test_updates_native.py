"""Updates where there is nothing to update: every verb says so, and PID 1 stays as it is."""

from __future__ import annotations

import json

import pytest

from tests.engine.native_machine import NativeMachine

pytestmark = [pytest.mark.root, pytest.mark.engine]

LOOKS = ("status", "list", "why", "history", "verify", "diff?old=1&new=2")
VERBS = ("apply", "cancel", "rollback", "gc", "pin", "unpin", "hold", "unhold")
TEXT = "this system runs from memory: nothing is installed that could be updated"


def test_a_live_system_answers_every_verb_with_a_clear_text() -> None:
    with NativeMachine({}) as machine:
        machine.wait_ready()
        for look in LOOKS:
            status, answer = machine.request("GET", f"/orlop/os/{look}")
            assert (status, answer["message"]) == (503, TEXT), look
        for verb in VERBS:
            status, answer = machine.request("POST", f"/orlop/os/{verb}", {"generation": 1})
            answer = answer if isinstance(answer, dict) else json.loads(answer)
            error = answer["error"]
            assert (status, error["kind"], error["message"]) == (200, "Unavailable", TEXT), verb
            assert error["hint"] == "orlop install"
        status, answer = machine.request("POST", "/orlop/os/stage?unsigned=1", b"no image")
        assert (status, answer["message"]) == (503, TEXT)
        assert machine.request("POST", "/orlop/os/nonsense", {})[0] == 404
        assert machine.request("GET", "/orlop/os/nonsense")[0] in (404, 503)
