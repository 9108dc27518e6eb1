"""What a user may do as root: the rules that PID 1 wrote from the configuration. Pure."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from orlop.lib.errors import OrlopError
from orlop.wire.sudo_rule import Rule, parse_rule

PEOPLE = Path("/run/orlop/people")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def rules_of(user: str, people: Path = PEOPLE) -> list[Rule]:
    """The rules for *user*; none if they cannot be read."""
    try:
        data = json.loads((people / "sudo.json").read_bytes())
        texts = data.get(user, []) if isinstance(data, dict) else []
        return [parse_rule(text) for text in texts]
    except (OSError, ValueError, OrlopError):
        return []


def hash_of(user: str, people: Path = PEOPLE) -> str:
    """The hash of the password of *user*; `*` for one without."""
    try:
        for line in (people / "shadow").read_text().splitlines():
            name, hashed, *_ = line.split(":")
            if name == user:
                return hashed
    except (OSError, ValueError):
        pass
    return "*"


def resolve(command: Sequence[str], cwd: str) -> tuple[str, ...]:
    """*command* with its program as an absolute path without links on the way to it, so that one
    program has one name; what is not found stays as it is."""
    program = command[0]
    if "/" in program:
        places = [os.path.join(cwd, program)]
    else:
        places = [f"{directory}/{program}" for directory in PATH.split(":")]
    found = next((place for place in places if os.access(place, os.X_OK)), places[0])
    if "/" not in program and not os.path.exists(found):
        return tuple(command)
    directory, name = os.path.split(os.path.normpath(found))
    return (os.path.join(os.path.realpath(directory), name), *command[1:])


def environment(user: str, uid: int, gid: int, term: str, command: str) -> Mapping[str, str]:
    """What a command gets, and nothing from the user's: it may hold what libraries obey."""
    return {
        "PATH": PATH,
        "HOME": "/root",
        "SHELL": "/bin/sh",
        "USER": "root",
        "LOGNAME": "root",
        "TERM": term,
        "ORLOP_GREETED": "1",
        "SUDO_USER": user,
        "SUDO_UID": str(uid),
        "SUDO_GID": str(gid),
        "SUDO_COMMAND": command,
    }


def describe(rules: Sequence[Rule]) -> str:
    """What may be run, in lines."""
    lines = []
    for rule in rules:
        how = "with the password" if rule.password else "without a password"
        what = ["anything"] if not rule.commands else [" ".join(words) for words in rule.commands]
        lines += [f"  {text} ({how})" for text in what]
    return "\n".join(lines)
