"""Groups and machines as JSON, for the store and for people; and settings as people write them."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

from orlop_fleet.policy import (
    DAYS,
    Event,
    Group,
    Holder,
    Node,
    Request,
    Rollout,
    Settings,
    Window,
)

GROUP_NAME = re.compile(r"[a-zA-Z0-9.-]{1,64}")
NODE_NAME = re.compile(r"[!-~]{1,128}")
MAX_CANARIES = 1000
MAX_SLOTS = 100_000
_WINDOW = re.compile(r"(?:([a-z,-]+) )?([01]\d|2[0-3]):([0-5]\d) (\d{1,4})m")
_SLOTS = re.compile(r"(\d{1,6})(%?)")


class Wrong(ValueError):
    """What somebody has sent cannot be; the text says why."""


def dump(value: Group | Node) -> str:
    """As text; `load_group` and `load_node` read it."""
    return json.dumps(asdict(value), separators=(",", ":"))


def load_group(text: str) -> Group:
    """A group of the store."""
    data = json.loads(text)
    given = data.pop("settings")
    windows = tuple(
        Window(tuple(w["days"]), w["minute"], w["length_s"]) for w in given.pop("windows")
    )
    canaries = tuple(given.pop("canaries"))
    return Group(
        Settings(**given, canaries=canaries, windows=windows),
        data["paused"],
        data["nodes"],
        {name: Holder(**holder) for name, holder in data["holders"].items()},
        {name: Rollout(**rollout) for name, rollout in data["rollouts"].items()},
    )


def load_node(text: str) -> Node:
    """A machine of the store."""
    data = json.loads(text)
    return Node(data["first_s"], data["seen_s"], tuple(Event(**event) for event in data["events"]))


def parse_request(body: bytes) -> tuple[str, Request]:
    """The group and the request of a machine: FleetLock's, older clients say `node_uuid`.

    Raises:
        Wrong: it is none.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Wrong(f"no JSON: {error}") from None
    params = data.get("client_params") if isinstance(data, dict) else None
    if not isinstance(params, dict):
        raise Wrong("client_params: an object expected")
    group, name = params.get("group"), params.get("id") or params.get("node_uuid")
    if not isinstance(group, str) or GROUP_NAME.fullmatch(group) is None:
        raise Wrong("client_params.group: letters, digits, points and hyphens expected")
    if not isinstance(name, str) or NODE_NAME.fullmatch(name) is None:
        raise Wrong("client_params.id: up to 128 printable characters expected")
    lease = data.get("lease_s")
    texts = {key: str(data.get(key) or "")[:300] for key in ("phase", "from", "to", "result")}
    # JSON as Python reads it has numbers that are none, which no lease ever comes to.
    more = {"lease_s": float(lease)} if isinstance(lease, int | float) and 0 < lease < 1e9 else {}
    return group, Request(
        name,
        **more,
        phase=texts["phase"],
        source=texts["from"],
        target=texts["to"],
        result=texts["result"],
    )


def parse_settings(data: Any) -> Settings:
    """Settings as people write them: `slots` a number or `10%`, `windows` as `mon-fri 02:00 120m`.

    Raises:
        Wrong: with the key.
    """
    if not isinstance(data, dict):
        raise Wrong("an object expected")
    known = set(show_settings(Settings()))
    if unknown := sorted(set(data) - known):
        raise Wrong(f"{unknown[0]}: unknown; there are {', '.join(sorted(known))}")
    match = _SLOTS.fullmatch(str(data.get("slots", "1")))
    limit = 100 if match and match[2] else MAX_SLOTS
    if match is None or not 1 <= int(match[1]) <= limit:
        raise Wrong("slots: a number from 1, or percent of the machines such as 10%, expected")
    canaries = data.get("canaries", [])
    if not isinstance(canaries, list) or len(canaries) > MAX_CANARIES:
        raise Wrong(f"canaries: a list of up to {MAX_CANARIES} machines expected")
    if not all(isinstance(name, str) and NODE_NAME.fullmatch(name) for name in canaries):
        raise Wrong("canaries: ids of machines expected")
    windows = data.get("windows", [])
    if not isinstance(windows, list) or len(windows) > 64:
        raise Wrong("windows: a list expected")
    return Settings(
        int(match[1]),
        bool(match[2]),
        tuple(dict.fromkeys(canaries)),
        int(_number(data, "canary_good", 1, 1, MAX_CANARIES)),
        _number(data, "failure_ratio", 0.25, 0.01, 1),
        int(_number(data, "failure_least", 4, 1, MAX_SLOTS)),
        tuple(_window(text) for text in windows),
    )


def _number(data: dict[str, Any], key: str, default: float, low: float, high: float) -> float:
    value = data.get(key, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        raise Wrong(f"{key}: a number from {low:g} to {high:g} expected")
    return float(value)


def _window(text: object) -> Window:
    match = _WINDOW.fullmatch(str(text))
    if match is None or not 1 <= int(match[4]) <= 10080:
        raise Wrong(f"windows: {str(text)[:40]!r} is not as mon-fri 02:00 120m")
    days: set[int] = set()
    for word in (match[1] or "mon-sun").split(","):
        first, _, last = word.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise Wrong(f"windows: {word!r} is no day: {', '.join(DAYS)}")
        low, high = DAYS.index(first), DAYS.index(last or first)
        days |= {day % 7 for day in range(low, (high if high >= low else high + 7) + 1)}
    return Window(tuple(sorted(days)), int(match[2]) * 60 + int(match[3]), int(match[4]) * 60.0)


def show_settings(settings: Settings) -> dict[str, Any]:
    """As people write them."""
    return {
        "slots": f"{settings.slots}%" if settings.percent else settings.slots,
        "canaries": [*settings.canaries],
        "canary_good": settings.canary_good,
        "failure_ratio": settings.failure_ratio,
        "failure_least": settings.failure_least,
        "windows": [
            f"{','.join(DAYS[day] for day in window.days)} "
            f"{window.minute // 60:02}:{window.minute % 60:02} {window.length_s / 60:.0f}m"
            for window in settings.windows
        ],
    }


def show_group(name: str, group: Group) -> dict[str, Any]:
    """A group for people."""
    return {
        "group": name,
        "settings": show_settings(group.settings),
        "slots": group.slots,
        "paused": group.paused,
        "nodes": group.nodes,
        "holders": {name: asdict(holder) for name, holder in group.holders.items()},
        "rollouts": {target: asdict(rollout) for target, rollout in group.rollouts.items()},
    }
