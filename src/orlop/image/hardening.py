"""Our table of hardening rules, and what a kernel's configuration or a live machine makes of it.

``os/hardening.toml`` has three lists: symbols of the kernel's configuration, which the fragments
in ``os/kernel/`` set; sysctls, which ``os/sysctl.toml`` sets; and parameters of the kernel's
command line, put there from here (`command_line`). A rule is held or broken; where we decided
against what is commonly recommended, the table has an exception with its reason, and the check is
that our own value is there.

The same functions check a build (configuration) and a running machine (sysctls as a mapping of
names to texts, the text of /proc/cmdline): see `report`.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from orlop.image.kernel_config import CONFIG_FILE, parse_config
from orlop.image.step import StepContext
from orlop.lib.errors import InvalidArgument

TABLE = "os/hardening.toml"


class Kind(StrEnum):
    """What a rule is about; the values are the names of the table's lists."""

    KCONFIG = "kconfig"
    SYSCTL = "sysctl"
    PARAMETER = "parameter"


class Outcome(StrEnum):
    HELD = "held"
    EXCEPTED = "excepted"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table.

    value: what must be there; "n" for a symbol that must not be set, "" for a parameter
        without a value.
    recommended: for an exception, what is commonly recommended instead, else None.
    optional: the sysctl exists only on some machines or with some modules loaded.
    """

    kind: Kind
    name: str
    value: str
    why: str
    origin: str
    recommended: str | None = None
    optional: bool = False

    def __str__(self) -> str:
        if self.kind is Kind.PARAMETER and not self.value:
            return self.name
        return f"{self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule came to; *actual* is None where there is no such thing at all."""

    rule: Rule
    outcome: Outcome
    actual: str | None

    def __str__(self) -> str:
        found = "not there" if self.actual is None else self.actual
        return f"{self.rule.origin}: {self.rule.kind}: wanted {self.rule}, found {found}"


def read_table(path: Path) -> list[Rule]:
    """The rules of *path*; the name in messages is `TABLE`."""
    return parse_table(path.read_text(encoding="utf-8"))


def parse_table(text: str, source: str = TABLE) -> list[Rule]:
    """The rules of a table.

    Raises:
        InvalidArgument: not TOML, an unknown or missing key, a wrong type, a name given twice.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{source}: {error}") from None
    unknown = data.keys() - set(Kind)
    if unknown:
        raise InvalidArgument(f"{source}: unknown list {min(unknown)}")
    rules = [
        _parse_rule(kind, entry, text, source) for kind in Kind for entry in data.get(kind, [])
    ]
    seen: set[tuple[Kind, str]] = set()
    for rule in rules:
        if (rule.kind, rule.name) in seen:
            raise InvalidArgument(f"{rule.origin}: {rule.name} is in the table twice")
        seen.add((rule.kind, rule.name))
    return rules


def _parse_rule(kind: Kind, entry: object, text: str, source: str) -> Rule:
    if not isinstance(entry, dict):
        raise InvalidArgument(f"{source}: {kind}: a rule is a table")
    fields: dict[str, Any] = dict(entry)
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise InvalidArgument(f"{source}: {kind}: a rule without a name: {entry}")
    origin = f"{source}:{_line_of(name, text)}"
    optional = fields.pop("optional", False)
    if not isinstance(optional, bool):
        raise InvalidArgument(f"{origin}: {name}: optional is true or false")
    for key, content in fields.items():
        if key not in ("value", "why", "recommended"):
            raise InvalidArgument(f"{origin}: {name}: unknown key {key}")
        if not isinstance(content, str):
            raise InvalidArgument(f"{origin}: {name}: {key} is not a string")
    value, why = fields.get("value"), fields.get("why")
    if value is None or not why:
        raise InvalidArgument(f"{origin}: {name}: a rule has a value and a why")
    recommended = fields.get("recommended")
    if recommended == value:
        raise InvalidArgument(f"{origin}: {name}: an exception that is none")
    return Rule(kind, name, value, why, origin, recommended, optional)


def _line_of(name: str, text: str) -> int:
    """The line of the table on which *name* is given; tomllib does not say."""
    match = re.search(rf'^.*\bname\s*=\s*"{re.escape(name)}"', text, re.MULTILINE)
    return text.count("\n", 0, match.start()) + 1 if match else 0


def check_config(rules: Iterable[Rule], config: Mapping[str, str]) -> list[Finding]:
    """Check a resolved configuration (`kernel_config.parse_config`)."""
    return _check(rules, Kind.KCONFIG, lambda name: config.get(name, "n").strip('"'))


def check_sysctls(rules: Iterable[Rule], live: Mapping[str, str]) -> list[Finding]:
    """Check sysctls: *live* maps names with dots to what /proc/sys has, numbers as text."""

    def actual(name: str) -> str | None:
        text = live.get(name)
        return None if text is None else " ".join(text.split())

    return _check(rules, Kind.SYSCTL, actual)


def check_command_line(rules: Iterable[Rule], command_line: str) -> list[Finding]:
    """Check the text of /proc/cmdline; what is given twice counts as the kernel counts it: last."""
    given: dict[str, str] = {}
    for word in command_line.split():
        name, _, value = word.partition("=")
        given[name] = value
    return _check(rules, Kind.PARAMETER, given.get)


def _check(rules: Iterable[Rule], kind: Kind, actual: Callable[[str], str | None]) -> list[Finding]:
    findings = []
    for rule in rules:
        if rule.kind is not kind:
            continue
        found = actual(rule.name)
        if found == rule.value or (found is None and rule.optional):
            outcome = Outcome.HELD if rule.recommended is None else Outcome.EXCEPTED
        else:
            outcome = Outcome.BROKEN
        findings.append(Finding(rule, outcome, found))
    return findings


def report(findings: Iterable[Finding]) -> dict[Outcome, list[Finding]]:
    """The findings by outcome, all three keys always there."""
    result: dict[Outcome, list[Finding]] = {outcome: [] for outcome in Outcome}
    for finding in findings:
        result[finding.outcome].append(finding)
    return result


def parameters(rules: Iterable[Rule]) -> list[str]:
    """The words for the default command line."""
    return [str(rule) for rule in rules if rule.kind is Kind.PARAMETER]


def check_build(context: StepContext, *, table: Path) -> None:
    """Step ``hardening``: check ``kernel-config``; the result is ``hardening.txt``.

    Raises:
        InvalidArgument: rules are broken; the text has a line for each.
    """
    rules = read_table(table)
    config = (context.result("kernel-config") / CONFIG_FILE).read_text(encoding="utf-8")
    outcomes = report(check_config(rules, parse_config(config)))
    broken = outcomes[Outcome.BROKEN]
    if broken:
        raise InvalidArgument(
            "\n".join(
                ["the kernel's configuration breaks hardening rules:", *(str(f) for f in broken)]
            ),
            hint="set the symbol in os/kernel/, or make an exception with its reason in the table",
        )
    counts = ", ".join(f"{len(outcomes[outcome])} {outcome}" for outcome in Outcome)
    context.log(f"hardening rules: {counts}")
    lines = [f"{counts}\n"]
    lines += [f"excepted {f.rule}: {f.rule.why}\n" for f in outcomes[Outcome.EXCEPTED]]
    (context.output / "hardening.txt").write_text("".join(lines), encoding="utf-8")
