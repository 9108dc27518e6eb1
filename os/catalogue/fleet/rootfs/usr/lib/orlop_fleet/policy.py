"""Who may reboot: pure, from what is known about a group to an answer and what is known then.

A slot is taken by a machine that may reboot, and is free again when that machine works, or when a
person says so. A machine that has failed keeps its slot, and so does one that is silent for longer
than its lease: silent is failed, never free. An update that does not work thus stops after as many
machines as there are slots, or before that, when too large a share of those that tried has failed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HISTORY = 50
"""Events kept of a machine."""
ROLLOUTS = 20
"""Targets of updates whose outcomes are kept."""
LEASE_S = 3600.0
MAX_LEASE_S = 7 * 86400.0
MAX_TEXT = 300
MAX_NODES = 100_000
"""Of a group: somebody may invent machines."""


@dataclass(frozen=True, slots=True)
class Window:
    """Open on *days* (0 is Monday) from *minute* of the day, in UTC, for *length_s*."""

    days: tuple[int, ...]
    minute: int
    length_s: float


@dataclass(frozen=True, slots=True)
class Settings:
    """*slots*: how many machines may be away at once, or percent of those known with *percent*.

    *canaries* are let go first, one at a time; the others once *canary_good* of them work with the
    same target. The group pauses by itself when *failure_ratio* of at least *failure_least*
    outcomes of a target are bad.
    """

    slots: int = 1
    percent: bool = False
    canaries: tuple[str, ...] = ()
    canary_good: int = 1
    failure_ratio: float = 0.25
    failure_least: int = 4
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True)
class Holder:
    """A machine that has a slot. *failed* says why it did not come back, or is empty."""

    since_s: float
    seen_s: float
    lease_s: float
    phase: str = ""
    source: str = ""
    target: str = ""
    failed: str = ""
    silent: bool = False
    """It has failed by saying nothing: that can still turn out well."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Outcomes of one target."""

    good: int = 0
    failed: int = 0
    canary_good: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """What is known about a group. *paused* says why nobody may go, or is empty."""

    settings: Settings = field(default_factory=Settings)
    paused: str = ""
    nodes: int = 0
    holders: dict[str, Holder] = field(default_factory=dict)
    rollouts: dict[str, Rollout] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        """How many machines may be away: at least one, or the fleet would never move."""
        wanted = self.settings
        return max(1, self.nodes * wanted.slots // 100) if wanted.percent else wanted.slots


@dataclass(frozen=True, slots=True)
class Event:
    """Something in the life of a machine."""

    at_s: float
    what: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of a group, with what it did last."""

    first_s: float = 0.0
    seen_s: float = 0.0
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What a machine sends; all but *id* may be missing."""

    id: str
    lease_s: float = LEASE_S
    phase: str = ""
    source: str = ""
    target: str = ""
    result: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer, *kind* empty if it is yes; and what is known now."""

    group: Group
    node: Node
    kind: str = ""
    value: str = ""


def pre_reboot(group: Group, node: Node, request: Request, now_s: float) -> Outcome:
    """A machine wants to reboot, says that it is still at it, or that it has failed."""
    group, node = _seen(expire(group, now_s), node, now_s)
    if not node.first_s:
        return Outcome(group, node, "too_many", f"the group has {MAX_NODES} machines")
    holder = group.holders.get(request.id)
    if request.phase == "failed":
        return _failed(group, node, request, now_s)
    if holder is not None:
        return _again(group, node, holder, request, now_s)
    refused = _refusal(group, request, now_s)
    if refused is not None:
        return Outcome(group, node, *refused)
    lease_s = min(max(request.lease_s, 60.0), MAX_LEASE_S)
    taken = Holder(now_s, now_s, lease_s, request.phase, request.source, request.target)
    group = replace(group, holders={**group.holders, request.id: taken})
    return Outcome(group, _note(node, now_s, "locked", request.target))


def steady_state(group: Group, node: Node, request: Request, now_s: float) -> Outcome:
    """A machine works: its slot is free."""
    group, node = _seen(expire(group, now_s), node, now_s)
    holder = group.holders.get(request.id)
    if holder is None:
        return Outcome(group, node)
    if request.result not in ("", "good"):
        return _failed(group, node, request, now_s)
    group = _without(group, request.id)
    old = group.rollouts.get(holder.target, Rollout())
    new = replace(
        old,
        good=old.good + 1,
        failed=old.failed - holder.silent,
        canary_good=old.canary_good + (request.id in group.settings.canaries),
    )
    group = _with_rollout(group, holder.target, new)
    return Outcome(group, _note(node, now_s, "steady", holder.target))


def expire(group: Group, now_s: float) -> Group:
    """Who has been silent for longer than its lease has failed."""
    for name, holder in group.holders.items():
        late_s = now_s - holder.seen_s - holder.lease_s
        if late_s > 0 and not holder.failed:
            text = f"silent for {now_s - holder.seen_s:.0f} s"
            group = _fail(group, name, replace(holder, failed=text, silent=True))
    return group


def release(group: Group, node: Node, name: str, now_s: float, *, force: bool) -> Outcome:
    """A person frees the slot of a machine; *force*: although that has not failed."""
    group = expire(group, now_s)
    holder = group.holders.get(name)
    if holder is None:
        return Outcome(group, node, "not_held", f"{name} has no slot")
    if not holder.failed and not force:
        return Outcome(
            group, node, "not_failed", f"{name} has not failed: it may be away; --force frees it"
        )
    return Outcome(_without(group, name), _note(node, now_s, "released", holder.failed))


def pause(group: Group, reason: str) -> Group:
    """Nobody may go until `resume`."""
    return replace(group, paused=reason[:MAX_TEXT] or "paused by a person")


def resume(group: Group) -> Group:
    """They may again; outcomes are counted anew, or it would pause at once."""
    return replace(group, paused="", rollouts={})


def _seen(group: Group, node: Node, now_s: float) -> tuple[Group, Node]:
    """*node* was heard of; one that is new is not counted where there are too many."""
    if node.first_s:
        return group, replace(node, seen_s=now_s)
    if group.nodes >= MAX_NODES:
        return group, node
    return replace(group, nodes=group.nodes + 1), replace(node, first_s=now_s, seen_s=now_s)


def _note(node: Node, now_s: float, what: str, text: str = "") -> Node:
    event = Event(now_s, what, text[:MAX_TEXT])
    return replace(node, events=(*node.events, event)[-HISTORY:])


def _without(group: Group, name: str) -> Group:
    return replace(group, holders={k: v for k, v in group.holders.items() if k != name})


def _with_rollout(group: Group, target: str, rollout: Rollout) -> Group:
    others = {k: v for k, v in group.rollouts.items() if k != target}
    while len(others) >= ROLLOUTS:
        del others[next(iter(others))]
    return replace(group, rollouts={**others, target: rollout})


def _fail(group: Group, name: str, holder: Holder) -> Group:
    """*holder* has failed, for the first time with this target; the group may pause."""
    old = group.rollouts.get(holder.target, Rollout())
    new = replace(old, failed=old.failed + 1)
    group = _with_rollout(group, holder.target, new)
    group = replace(group, holders={**group.holders, name: holder})
    wanted, tried = group.settings, new.failed + new.good
    if group.paused or tried < wanted.failure_least:
        return group
    if new.failed / tried < wanted.failure_ratio:
        return group
    target = f" with {holder.target}" if holder.target else ""
    return pause(group, f"{new.failed} of {tried} machines have failed{target}")


def _failed(group: Group, node: Node, request: Request, now_s: float) -> Outcome:
    holder = group.holders.get(request.id)
    if holder is None:
        return Outcome(group, node)  # a person has freed it: what there is to say has been said
    text = (request.result or "failed")[:MAX_TEXT]
    said = replace(holder, seen_s=now_s, phase="failed", failed=text, silent=False)
    if holder.failed and not holder.silent:
        return Outcome(replace(group, holders={**group.holders, request.id: said}), node)
    if holder.silent:  # counted already
        group = replace(group, holders={**group.holders, request.id: said})
    else:
        group = _fail(group, request.id, said)
    return Outcome(group, _note(node, now_s, "failed", text))


def _again(group: Group, node: Node, holder: Holder, request: Request, now_s: float) -> Outcome:
    """It has a slot: the protocol lets it ask as often as it likes."""
    lease_s = min(max(request.lease_s, 60.0), MAX_LEASE_S)
    target = request.target or holder.target
    if holder.failed and not holder.silent:
        if request.phase == "trial":
            return Outcome(group, node)
        if group.paused and request.phase == "apply":
            return Outcome(group, node, "paused", group.paused)
    elif holder.silent:  # it is there after all
        old = group.rollouts.get(holder.target, Rollout())
        group = _with_rollout(group, holder.target, replace(old, failed=max(0, old.failed - 1)))
    now = Holder(holder.since_s, now_s, lease_s, request.phase, request.source, target)
    return Outcome(replace(group, holders={**group.holders, request.id: now}), node)


def _refusal(group: Group, request: Request, now_s: float) -> tuple[str, str] | None:
    """Why a machine without a slot gets none now."""
    wanted = group.settings
    if group.paused:
        return "paused", f"the group is paused: {group.paused}"
    if not is_open(wanted.windows, now_s):
        return "outside_window", "no window of the group is open"
    slots = group.slots
    if wanted.canaries:
        proven = group.rollouts.get(request.target, Rollout()).canary_good
        if proven < min(wanted.canary_good, len(wanted.canaries)):
            if request.id not in wanted.canaries:
                return "canaries_first", "canaries go first, and have not come back well yet"
            slots = 1
    if len(group.holders) >= slots:
        failed = sum(bool(holder.failed) for holder in group.holders.values())
        which = f", {failed} of them by machines that have failed" if failed else ""
        return "all_slots_taken", f"all {slots} slots are taken{which}"
    return None


def is_open(windows: tuple[Window, ...], now_s: float) -> bool:
    """Whether one of them is; where there are none it always is."""
    today = int(now_s // 86400)
    for window in windows:
        for day in range(today - int(window.length_s // 86400) - 1, today + 1):
            start_s = day * 86400 + window.minute * 60
            is_its_day = time.gmtime(day * 86400).tm_wday in window.days
            if is_its_day and start_s <= now_s < start_s + window.length_s:
                return True
    return not windows
