"""What is checked, what was found, and what that makes the machine: `green`, `yellow` or `red`.

Pure. A check is `ok`, `waiting` (it may yet be: something is still starting) or `failed`. *code* is
one word for programs, *text* a sentence for people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from orlop.lib.units import parse_duration_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.system.config.configuration import Configuration
    from orlop.wire.compose_model import Json

SETTLE_S = 120.0
DEADLINE_S = 600.0
INTERVAL_S = 60.0
START_S = 60.0
"""What a deadline leaves beside the time to settle, at most."""
TIMEOUT_S = 10.0


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    WAITING = "waiting"
    FAILED = "failed"


class Verdict(StrEnum):
    """What the machine is."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Check:
    """A declared check. *target* is a name, URL or address; *command* for `exec` only."""

    name: str
    kind: str
    target: str
    required: bool
    command: tuple[str, ...] = ()
    engine: str = ""
    """`system`, `user`, or empty for whichever has the name."""
    status: int = 0
    """What HTTP has to answer; 0: anything from 200 to 399."""
    insecure: bool = False
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Found:
    """How a check came out."""

    name: str
    kind: str
    required: bool
    status: Status
    code: str = "ok"
    text: str = ""

    def answer(self) -> dict[str, Json]:
        """As the API has it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "required": self.required,
            "status": self.status.value,
            "code": self.code,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All checks at one moment; *code* and *text* are those of the worst of them."""

    verdict: Verdict
    code: str
    text: str
    checks: tuple[Found, ...]
    at_s: float = 0.0
    """Time of day."""

    def answer(self) -> dict[str, Json]:
        """As the API has it."""
        return {**self.summary(), "checks": [found.answer() for found in self.checks]}

    def summary(self) -> dict[str, Json]:
        """The same without the checks."""
        return {
            "verdict": self.verdict.value,
            "code": self.code,
            "text": self.text,
            "checked_at": self.at_s,
        }


def judge(checks: Sequence[Found], at_s: float = 0.0) -> Report:
    """Red if something required has failed, yellow if it is not there yet or something wanted has
    failed, else green."""
    required = [found for found in checks if found.required]
    for verdict, status, among in (
        (Verdict.RED, Status.FAILED, required),
        (Verdict.YELLOW, Status.WAITING, required),
        (Verdict.YELLOW, Status.FAILED, checks),
    ):
        worst = [found for found in among if found.status is status]
        if worst:
            more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
            text = f"{worst[0].name}: {worst[0].text}{more}"
            return Report(verdict, worst[0].code, text, tuple(checks), at_s)
    return Report(Verdict.GREEN, "ok", "", tuple(checks), at_s)


@dataclass(frozen=True, slots=True)
class Settings:
    """`orlop.health`."""

    settle_s: float = SETTLE_S
    deadline_s: float = DEADLINE_S
    interval_s: float = INTERVAL_S
    checks: tuple[Check, ...] = ()


def settings(configuration: Configuration) -> Settings:
    """What the configuration says; its worker has checked it. No update could be good whose
    deadline is before it has settled: there is time to start as well."""
    part = configuration.get("orlop.health")
    data: Mapping[str, Json] = part if isinstance(part, dict) else {}
    settle_s = _seconds(data.get("settle"), SETTLE_S)
    return Settings(
        settle_s,
        max(_seconds(data.get("deadline"), DEADLINE_S), settle_s + min(settle_s, START_S)),
        _seconds(data.get("interval"), INTERVAL_S),
        declared(data),
    )


def of_release(data: Mapping[str, Json]) -> tuple[Check, ...]:
    """The checks that a release has beside the machine's own, in the same form."""
    return tuple(replace(check, name=f"release: {check.name}") for check in declared(data))


def declared(data: Mapping[str, Json]) -> tuple[Check, ...]:
    """The checks in `orlop.health`, which have been checked themselves."""
    checks: list[Check] = []
    for place in ("required", "wanted"):
        items = data.get(place)
        rows = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
        checks += [_check(item, required=place == "required") for item in rows]
    return tuple(checks)


def _check(item: Mapping[str, Json], *, required: bool) -> Check:
    kind = next(kind for kind in ("state", "exec", "http", "tcp") if kind in item)
    value = item[kind]
    command = tuple(map(str, value)) if isinstance(value, list) else ()
    target = str(item["in"]) if kind == "exec" else str(value)
    status = item.get("status")
    return Check(
        name=str(item.get("name") or " ".join((target, *command))[:64]),
        kind=kind,
        target=target,
        required=required,
        command=command,
        engine=str(item.get("engine") or ""),
        status=status if isinstance(status, int) else 0,
        insecure=item.get("insecure") is True,
        timeout_s=_seconds(item.get("timeout"), TIMEOUT_S),
    )


def _seconds(value: Json, default: float) -> float:
    return parse_duration_s(value) if isinstance(value, str) else default
