"""A rule of sudoers(5) as cloud-init's `sudo:` has it: who a user may be, and for what. Pure.

    HOSTS=(USERS) TAG: COMMAND, COMMAND

Of that this system knows: any host, root as the other user, the tags NOPASSWD and PASSWD, and as
commands `ALL` or absolute paths, with the very arguments if some are given; a `*` as the last one
stands for any more. Anything else is refused: a rule that is half understood is a hole.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_COMMANDS = 64
_RULE = re.compile(
    r"\s*ALL\s*=\s*(?:\(\s*(?P<user>ALL|root)?\s*(?::\s*(?:ALL|root)\s*)?\)\s*)?"
    r"(?P<tag>(?:NO)?PASSWD\s*:)?\s*(?P<commands>\S.*?)\s*",
    re.DOTALL,
)
_COMMAND = re.compile(r"/[A-Za-z0-9_./+@-]+(?: +[A-Za-z0-9_./+@=:%~-]+)*(?: +\*)?")
EXAMPLE = "ALL=(ALL) NOPASSWD:ALL"


@dataclass(frozen=True, slots=True)
class Rule:
    """*commands*: each a path, maybe with arguments; empty for all. *password*: it is asked for."""

    password: bool
    commands: tuple[tuple[str, ...], ...] = ()

    def covers(self, command: Sequence[str]) -> bool:
        """Whether *command*, its program an absolute path, is one of those."""
        if not self.commands:
            return True
        return any(_fits(wanted, tuple(command)) for wanted in self.commands)


def _fits(wanted: tuple[str, ...], command: tuple[str, ...]) -> bool:
    if len(wanted) > 1 and wanted[-1] == "*":
        return command[: len(wanted) - 1] == wanted[:-1]
    return command == wanted or (len(wanted) == 1 and command[0] == wanted[0])


def parse_rule(text: str) -> Rule:
    """*text* as a rule.

    Raises:
        InvalidArgument: it is none, or has something in it that is not supported.
    """
    match = _RULE.fullmatch(text) if text.isprintable() else None
    if match is None:
        raise InvalidArgument(f"must be a rule such as {EXAMPLE}, not {text[:60]!r}")
    password = not (match["tag"] or "").startswith("NO")
    words = [word.strip() for word in match["commands"].split(",")]
    if words == ["ALL"]:
        return Rule(password)
    if len(words) > MAX_COMMANDS:
        raise InvalidArgument(f"has more than {MAX_COMMANDS} commands")
    for word in words:
        if _COMMAND.fullmatch(word) is None or ".." in word.split(" ")[0].split("/"):
            raise InvalidArgument(
                f"commands must be ALL, or absolute paths with plain arguments, not {word[:60]!r}"
            )
    return Rule(password, tuple(tuple(word.split()) for word in words))


def find_rule(rules: Sequence[Rule], command: Sequence[str]) -> Rule | None:
    """The rule that lets *command* be run: as in sudoers(5) the last one that fits counts."""
    return next((rule for rule in reversed(rules) if rule.covers(command)), None)
