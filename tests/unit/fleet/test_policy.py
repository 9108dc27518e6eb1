"""Who may reboot: slots, leases, canaries, pauses, and a fleet of a thousand machines."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from orlop_fleet.documents import (
    Wrong,
    dump,
    load_group,
    load_node,
    parse_request,
    parse_settings,
    show_settings,
)
from orlop_fleet.policy import (
    Group,
    Node,
    Outcome,
    Request,
    Settings,
    is_open,
    pause,
    pre_reboot,
    release,
    resume,
    steady_state,
)


class Fleet:
    """A group and its machines, at a time that a test says."""

    def __init__(self, **settings: object) -> None:
        self.group = Group(parse_settings(settings))
        self.nodes: dict[str, Node] = {}
        self.now_s = 1_000_000.0

    def take(self, name: str, outcome: Outcome) -> str:
        self.group, self.nodes[name] = outcome.group, outcome.node
        assert load_group(dump(self.group)) == self.group
        assert load_node(dump(outcome.node)) == outcome.node
        return outcome.kind

    def lock(self, name: str, phase: str = "", target: str = "", result: str = "") -> str:
        request = Request(name, 3600, phase, "old", target, result)
        node = self.nodes.get(name, Node())
        return self.take(name, pre_reboot(self.group, node, request, self.now_s))

    def steady(self, name: str) -> str:
        node = self.nodes.get(name, Node())
        return self.take(name, steady_state(self.group, node, Request(name), self.now_s))

    def release(self, name: str, *, force: bool = False) -> str:
        node = self.nodes.get(name, Node())
        return self.take(name, release(self.group, node, name, self.now_s, force=force))


def test_a_counting_semaphore_with_owners() -> None:
    fleet = Fleet(slots=2)
    assert [fleet.lock(name) for name in "abc"] == ["", "", "all_slots_taken"]
    assert fleet.lock("a") == ""  # as often as it likes
    assert fleet.steady("c") == ""  # which frees nothing
    assert fleet.lock("c") == "all_slots_taken"
    assert fleet.steady("a") == fleet.steady("a") == ""
    assert fleet.lock("c") == ""
    assert sorted(fleet.group.holders) == ["b", "c"]
    assert fleet.group.nodes == 3


def test_silent_is_failed_and_never_free() -> None:
    fleet = Fleet(slots=1)
    assert fleet.lock("a", "apply", "v2") == ""
    fleet.now_s += 3500
    assert fleet.lock("a", "trial", "v2") == ""
    fleet.now_s += 3601
    assert fleet.lock("b") == "all_slots_taken"
    assert fleet.group.holders["a"].failed == "silent for 3601 s"
    assert fleet.group.rollouts["v2"].failed == 1
    # It has only been slow.
    assert fleet.lock("a", "trial", "v2") == ""
    assert (fleet.group.holders["a"].failed, fleet.group.rollouts["v2"].failed) == ("", 0)
    fleet.now_s += 4000
    assert fleet.steady("a") == ""
    rollout = fleet.group.rollouts["v2"]
    assert (rollout.good, rollout.failed) == (1, 0)
    assert fleet.lock("b") == ""


def test_a_machine_that_failed_keeps_its_slot_until_it_works() -> None:
    fleet = Fleet(slots=1)
    fleet.lock("a", "apply", "v2")
    assert fleet.lock("a", "failed", "v2", "web does not answer") == ""
    assert fleet.lock("a", "failed", "v2", "web does not answer") == ""
    assert fleet.group.rollouts["v2"].failed == 1
    fleet.now_s += 100 * 3600
    assert fleet.lock("b") == "all_slots_taken"
    assert fleet.lock("a", "apply", "v3") == ""
    assert fleet.steady("a") == ""
    assert fleet.group.rollouts["v3"].good == 1
    assert fleet.lock("b") == ""
    assert [event.what for event in fleet.nodes["a"].events] == ["locked", "failed", "steady"]


def test_a_person_frees_a_slot() -> None:
    fleet = Fleet(slots=1)
    fleet.lock("a", "apply", "v2")
    assert fleet.release("b") == "not_held"
    assert fleet.release("a") == "not_failed"
    assert fleet.release("a", force=True) == ""
    fleet.lock("b", "apply", "v2")
    fleet.lock("b", "failed", "v2", "why")
    assert fleet.release("b") == ""
    # What it has to say after that takes no slot.
    assert fleet.lock("b", "failed", "v2", "why") == ""
    assert fleet.group.holders == {}


def test_canaries_go_first_and_alone() -> None:
    fleet = Fleet(slots=10, canaries=["c1", "c2", "c3"], canary_good=2)
    assert fleet.lock("a", "apply", "v2") == "canaries_first"
    assert fleet.lock("c1", "apply", "v2") == ""
    assert fleet.lock("c2", "apply", "v2") == "all_slots_taken"
    fleet.steady("c1")
    assert fleet.lock("a", "apply", "v2") == "canaries_first"
    fleet.lock("c2", "apply", "v2")
    fleet.steady("c2")
    assert fleet.lock("a", "apply", "v2") == fleet.lock("b", "apply", "v2") == ""
    assert fleet.lock("d", "apply", "v3") == "canaries_first"


def test_it_pauses_when_too_many_fail() -> None:
    fleet = Fleet(slots=10, failure_ratio=0.5, failure_least=4)
    for name in "ab":
        fleet.lock(name, "apply", "v2")
        fleet.steady(name)
    for name in "cd":
        assert fleet.lock(name, "apply", "v2") == ""
        fleet.lock(name, "failed", "v2", "why")
    assert fleet.group.paused == "2 of 4 machines have failed with v2"
    assert fleet.lock("e", "apply", "v3") == "paused"
    assert fleet.lock("c", "apply", "v3") == "paused"  # although it has a slot
    fleet.group = resume(fleet.group)
    assert fleet.lock("e", "apply", "v3") == fleet.lock("c", "apply", "v3") == ""
    fleet.group = pause(fleet.group, "a freeze")
    assert fleet.lock("f") == "paused"


def test_percent_of_the_machines() -> None:
    fleet = Fleet(slots="10%")
    for number in range(35):
        fleet.steady(f"n{number}")
    assert fleet.group.slots == 3
    assert replace(fleet.group, nodes=0).slots == 1


def test_windows() -> None:
    # 2026-06-15 was a Monday.
    windows = parse_settings({"windows": ["mon-tue 23:00 120m"]}).windows
    monday_s = 1781481600
    assert [
        is_open(windows, monday_s + hour * 3600) for hour in (22.9, 23, 24.9, 25.1, 48.5, 72.5)
    ] == [False, True, True, False, True, False]
    fleet = Fleet(windows=["mon 23:00 60m"])
    fleet.now_s = monday_s
    assert fleet.lock("a") == "outside_window"


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"slots": 0}, "slots"),
        ({"slots": "101%"}, "slots"),
        ({"slot": 1}, "slot: unknown"),
        ({"canaries": "a"}, "canaries"),
        ({"failure_ratio": 0}, "failure_ratio"),
        ({"failure_least": True}, "failure_least"),
        ({"windows": ["monday 02:00 60m"]}, "no day"),
        ({"windows": ["02:00-04:00"]}, "is not as"),
    ],
)
def test_wrong_settings(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(Wrong, match=problem):
        parse_settings(settings)


def test_settings_as_people_write_them() -> None:
    data = {
        "slots": "5%", "canaries": ["a"], "canary_good": 1, "failure_ratio": 0.5,
        "failure_least": 2, "windows": ["mon,tue 02:00 120m"],
    }  # fmt: skip
    assert show_settings(parse_settings(data)) == data
    assert parse_settings(show_settings(Settings())) == Settings()


def test_requests_of_clients() -> None:
    # As the client of Fedora CoreOS writes it, and as older ones did.
    assert parse_request(
        b'{\n  "client_params": {\n    "id": "c988d2509fdf4cdcbed39037c56406fb",\n'
        b'    "group": "workers"\n  }\n}'
    ) == ("workers", Request("c988d2509fdf4cdcbed39037c56406fb"))
    old = b'{"client_params": {"group": "default", "node_uuid": "c988"}}'
    assert parse_request(old) == ("default", Request("c988"))
    for body in (b"", b"[]", b'{"client_params": {"id": "a"}}', b'{"client_params": 1}',
                 b'{"client_params": {"id": "", "group": "g"}}',
                 b'{"client_params": {"id": "a", "group": "a/b"}}'):  # fmt: skip
        with pytest.raises(Wrong):
            parse_request(body)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [1, 10])
def test_a_thousand_machines_take_a_release_that_fails_on_a_third(seed: int, limit: int) -> None:
    chance = random.Random(seed)
    fleet = Fleet(slots=limit, failure_ratio=1, failure_least=100_000)
    waiting = [f"m{number}" for number in range(1000)]
    chance.shuffle(waiting)
    away: list[str] = []
    affected = most = 0
    while True:
        granted = [name for name in waiting[:50] if fleet.lock(name, "apply", "v2") == ""]
        waiting = [name for name in waiting if name not in granted]
        away += granted
        most = max(most, len(fleet.group.holders))
        if not away:
            break
        name = away.pop(chance.randrange(len(away)))
        fleet.now_s += 60
        if chance.random() < 0.3:
            affected += 1
            if chance.random() < 0.5:
                fleet.lock(name, "failed", "v2", "does not work")
            # The others are never heard of again.
        else:
            fleet.steady(name)
        chance.shuffle(waiting)
    assert affected == most == limit
    assert len(waiting) > 0
    fleet.now_s += 100 * 3600
    assert fleet.lock(waiting[0], "apply", "v2") == "all_slots_taken"
    assert sum(bool(holder.failed) for holder in fleet.group.holders.values()) == limit


@pytest.mark.parametrize("lease", ["NaN", "Infinity", "-1", "1e400", "1" + "0" * 400, "true"])
def test_a_lease_that_never_ends_is_none(lease: str) -> None:
    body = f'{{"client_params": {{"id": "a", "group": "g"}}, "lease_s": {lease}}}'
    _, request = parse_request(body.encode())
    assert request.lease_s in (1.0, Request("a").lease_s)
