"""In which order services are replaced."""

from __future__ import annotations

from orlop.system.updates.service_update import in_order
from orlop.wire.compose import parse_service


def test_each_behind_what_it_waits_for() -> None:
    waits = {"a": ["c"], "b": [], "c": ["b", "gone"], "d": ["a"]}
    known = {
        name: parse_service(name, {"depends_on": [n for n in on if n in waits]})
        for name, on in waits.items()
    }
    assert in_order(known, known) == ["b", "c", "a", "d"]
    # Also by way of others, and with those that are not there yet.
    assert in_order(["a", "b", "new"], known) == ["b", "a", "new"]
