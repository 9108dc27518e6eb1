"""Metrics for Prometheus, in its text format."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orlop_fleet.policy import Group


class Counts:
    """How often what was asked and answered, since the server runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: Counter[tuple[str, str, str]] = Counter()

    def add(self, group: str, what: str, answer: str) -> None:
        """One more. Groups exist, and what is asked and answered are words of the program."""
        with self._lock:
            self._numbers[group, what, answer] += 1

    def items(self) -> list[tuple[tuple[str, str, str], int]]:
        """All of them, sorted."""
        with self._lock:
            return sorted(self._numbers.items())


def render(groups: Mapping[str, Group], counts: Counts) -> str:
    """The whole page."""
    rows: dict[str, list[str]] = {}
    for metric, labels, value in _rows(groups, counts):
        text = ",".join(f'{key}="{_escape(label)}"' for key, label in labels.items())
        rows.setdefault(metric, []).append(f"{metric}{{{text}}} {value}\n")
    return "".join(
        f"# HELP {metric} {HELP[metric]}\n# TYPE {metric} {_type(metric)}\n{''.join(lines)}"
        for metric, lines in rows.items()
    )


HELP = {
    "fleet_slots": "Machines of the group that may be away at once.",
    "fleet_holders": "Machines that have a slot, by whether they have failed.",
    "fleet_nodes": "Machines that have ever asked.",
    "fleet_paused": "1 while nobody may go.",
    "fleet_outcomes": "Machines by target of their update and how that came out.",
    "fleet_requests_total": "Requests of machines, by what was answered.",
}


def _type(metric: str) -> str:
    return "counter" if metric.endswith("_total") else "gauge"


def _rows(groups: Mapping[str, Group], counts: Counts) -> Iterator[tuple[str, dict[str, str], int]]:
    for name, group in groups.items():
        failed = sum(bool(holder.failed) for holder in group.holders.values())
        yield "fleet_slots", {"group": name}, group.slots
        yield "fleet_holders", {"group": name, "state": "away"}, len(group.holders) - failed
        yield "fleet_holders", {"group": name, "state": "failed"}, failed
        yield "fleet_nodes", {"group": name}, group.nodes
        yield "fleet_paused", {"group": name}, int(bool(group.paused))
        for target, rollout in group.rollouts.items():
            labels = {"group": name, "target": target}
            yield "fleet_outcomes", {**labels, "result": "good"}, rollout.good
            yield "fleet_outcomes", {**labels, "result": "failed"}, rollout.failed
    for (name, what, answer), number in counts.items():
        labels = {"group": name, "request": what, "answer": answer}
        yield "fleet_requests_total", labels, number


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
