"""The machine's users: what the configuration makes of passwd(5), group(5), shadow(5), and who may
do what as root. A pure plan, and a function that writes it.

The files are in `DIRECTORY`, where the consoles and the SSH server have their /etc/passwd from: a
change counts at once. Numbers that were given to a name are kept on the state partition for good,
so that nobody ever gets the files of somebody who is gone. Runs in PID 1, on checked values.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orlop.wire.compose_model import Json

DIRECTORY = "/run/orlop/people"
HOMES = "/var/lib/orlop/home"
NUMBERS = "/var/lib/orlop/people.json"

DEFAULT, DEFAULT_USER, DEFAULT_UID = "default", "rancher", 1100
"""The system's own user has the name and number that RancherOS gave it."""

GROUPS: Mapping[str, int] = {
    "root": 0,
    "tty": 5,
    "wheel": 10,
    "sudo": 27,
    "sshd": 104,
    "sshkeys": 105,
    "docker": 990,
    "orlop": 991,
    "nogroup": 65534,
}
"""Groups that are always there. 990 is the one that the user's engine gives its socket to."""

_SYSTEM = (
    "sshd:x:104:104:sshd:/run/sshd:/usr/sbin/nologin\n"
    "sshkeys:x:105:105:sshkeys:/:/usr/sbin/nologin\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
)
_PERSONS, _SYSTEM_USERS = range(1001, 60001), range(980, 199, -1)

ROOT_SHELL = "/usr/lib/orlop/login"
"""Leads to the console that was chosen, or to /bin/sh: os/services/console/rootfs."""

SHELLS: Mapping[str, str] = {"/bin/bash": "/bin/sh"}
"""What documents for other systems name, and what is here."""

ALL, ALL_FREELY = "ALL=(ALL) ALL", "ALL=(ALL) NOPASSWD:ALL"
_LOOKING = ("status", "ps", "logs", "boot", "dmesg", "stats", "inspect", "version", "cloud")
GROUP_RULES: Mapping[str, str] = {
    "sudo": ALL,
    "wheel": ALL,
    "orlop": "ALL=(root) NOPASSWD: "
    + ", ".join(f"/usr/bin/orlop {verb} *" for verb in (*_LOOKING, "service ls", "service why")),
}
"""What members of a group may do with `sudo`."""


@dataclass(slots=True)
class User:
    """One line of passwd(5), and what belongs to it."""

    name: str
    uid: int
    gid: int
    gecos: str
    home: str
    shell: str
    password: str
    """As in shadow(5); `*` for none."""
    keys: list[str]
    rules: list[str]
    makes_home: bool


@dataclass(slots=True)
class People:
    """All users; numbers as they are to be kept; what of the configuration cannot be."""

    users: list[User] = field(default_factory=list)
    groups: dict[str, int] = field(default_factory=dict)
    members: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def plan(data: Mapping[str, Json], numbers: Mapping[str, Mapping[str, int]]) -> People:
    """What the configuration *data* makes; *numbers* are those given before: `users`, `groups`."""
    entries = _entries(data)
    found = People(groups=dict(GROUPS))
    found.numbers = {kind: dict(numbers.get(kind, {})) for kind in ("users", "groups")}
    root, others = entries[0], entries[1:]
    found.users.append(_user(root, 0, 0))
    uids = _uids(others, found)
    for entry in others:
        name = str(entry["name"])
        if name in uids:
            gid = _group(found, str(entry.get("primary_group") or name), uids[name])
            found.users.append(_user(entry, uids[name], gid))
            for group in _texts(entry.get("groups")):
                _join(found, group, [name])
    for item in _list(data.get("groups")):
        for group, members in item.items() if isinstance(item, dict) else ():
            _join(found, group, _texts(members))
    for user in found.users:
        rules = [GROUP_RULES[g] for g in GROUP_RULES if user.name in found.members.get(g, ())]
        user.rules = [*rules, *user.rules]
    return found


def _entries(data: Mapping[str, Json]) -> list[dict[str, Json]]:
    """Root, then those that the configuration names, each once; later entries add to earlier."""
    keys = data.get("ssh_authorized_keys") or []
    root: dict[str, Json] = {"name": "root", "ssh_authorized_keys": keys}
    default: dict[str, Json] = {
        "name": DEFAULT_USER,
        "uid": DEFAULT_UID,
        "groups": ["docker"],
        "sudo": [ALL_FREELY],
        "ssh_authorized_keys": keys,
        "hashed_passwd": data.get("password") or "*",
    }
    listed = data.get("users")
    found = {"root": root}
    for item in _list(listed) if listed is not None else [{"name": DEFAULT}]:
        entry = dict(item) if isinstance(item, dict) else {}
        if entry.get("name") == DEFAULT:
            entry = {**default, **entry, "name": DEFAULT_USER}
        name = str(entry.get("name"))
        before = found.get(name, {})
        both = [*_list(before.get("ssh_authorized_keys")), *_list(entry.get("ssh_authorized_keys"))]
        found[name] = {**before, **entry, "ssh_authorized_keys": [*dict.fromkeys(map(str, both))]}
    return [*found.values()]


def _uids(entries: Iterable[Mapping[str, Json]], found: People) -> dict[str, int]:
    """The number of each user: the one configured, the one of before, or a new one."""
    kept = found.numbers["users"]
    taken: dict[int, str] = {104: "sshd", 105: "sshkeys"}
    uids: dict[str, int] = {}
    asked = [(entry, entry.get("uid")) for entry in entries]
    for entry, uid in [pair for pair in asked if isinstance(pair[1], int)]:
        name = str(entry["name"])
        assert isinstance(uid, int)
        if uid in taken:
            found.problems.append(f"user {name}: {uid} is the number of {taken[uid]}, leaving out")
            continue
        uids[name] = uid
        taken[uid] = name
    used = {*kept.values(), *taken, DEFAULT_UID}
    for entry, uid in asked:
        name = str(entry["name"])
        if isinstance(uid, int):
            continue
        number = kept.get(name)
        if number is None or number in taken:
            span = _SYSTEM_USERS if entry.get("system") else _PERSONS
            number = next((candidate for candidate in span if candidate not in used), None)
            if number is None:
                found.problems.append(f"user {name}: no number is left, leaving out")
                continue
            used.add(number)
        uids[name] = number
        taken[number] = name
    kept.update(uids)
    return uids


def _group(found: People, name: str, wish: int | None = None) -> int:
    """The number of group *name*, which is made if it is not there: *wish* if that is free."""
    if name in found.groups:
        return found.groups[name]
    kept = found.numbers["groups"]
    number = kept.get(name)
    used = {*kept.values(), *found.groups.values()}
    if number is None:
        uids = {*found.numbers["users"].values()} - {wish}
        taken = used | uids
        if wish is None or wish in taken:
            number = next(n for n in _PERSONS if n not in taken)
        else:
            number = wish
    kept[name] = found.groups[name] = number
    return number


def _join(found: People, group: str, members: list[str]) -> None:
    _group(found, group)
    names = {user.name for user in found.users}
    there = found.members.setdefault(group, [])
    for member in members:
        if member not in names:
            found.problems.append(f"group {group}: there is no user {member}, leaving out")
        elif member not in there:
            there.append(member)


def _user(entry: Mapping[str, Json], uid: int, gid: int) -> User:
    name = str(entry["name"])
    password = str(entry.get("hashed_passwd") or "*")
    shell = str(entry.get("shell") or "")
    is_locked = entry.get("lock_passwd") is True or not password.startswith("$")
    return User(
        name,
        uid,
        gid,
        str(entry.get("gecos") or ("root" if not uid else "")),
        "/root" if not uid else str(entry.get("homedir") or f"/home/{name}"),
        SHELLS.get(shell, shell) or ("/bin/sh" if uid else ROOT_SHELL),
        "*" if is_locked else password,
        _texts(entry.get("ssh_authorized_keys")),
        _texts(entry.get("sudo")),
        bool(uid) and not (entry.get("no_create_home") or entry.get("system")),
    )


def _texts(value: Json) -> list[str]:
    return [str(item) for item in _list(value)]


def _list(value: object) -> list[Json]:
    return value if isinstance(value, list) else []


def texts(people: People) -> dict[str, tuple[str, int]]:
    """The files by name: text and mode."""
    passwd = "".join(
        f"{u.name}:x:{u.uid}:{u.gid}:{u.gecos}:{u.home}:{u.shell}\n" for u in people.users
    )
    group = "".join(
        f"{name}:x:{gid}:{','.join(people.members.get(name, ()))}\n"
        for name, gid in people.groups.items()
    )
    shadow = "".join(f"{u.name}:{u.password}:20000:0:99999:7:::\n" for u in people.users)
    rules: dict[str, Json] = {u.name: [*u.rules] for u in people.users if u.rules}
    return {
        "passwd": (passwd + _SYSTEM, 0o644),
        "group": (group, 0o644),
        "shadow": (f"{shadow}sshd:*:20000::::::\nsshkeys:*:20000::::::\n", 0o600),
        "sudo.json": (json.dumps(rules), 0o600),
        **{f"keys/{u.name}": ("".join(f"{k}\n" for k in u.keys), 0o644) for u in people.users},
    }


def has_passwords(people: People) -> bool:
    """Whether anybody can log in with one."""
    return any(user.password != "*" for user in people.users)


def read_numbers(path: str = NUMBERS) -> dict[str, dict[str, int]]:
    """The numbers that were given before; none if there are none, or what is there is no such list.
    May block.

    Raises:
        OSError: they cannot be read.
    """
    try:
        data = json.loads(Path(path).read_bytes())
        return {
            kind: {str(name): int(number) for name, number in data.get(kind, {}).items()}
            for kind in ("users", "groups")
        }
    except (FileNotFoundError, ValueError, AttributeError):
        return {}


def write(people: People, directory: str = DIRECTORY) -> None:
    """Write the files; who is gone has no keys from then on. All of it is in memory.

    Raises:
        OSError: they cannot be written.
    """
    wanted = texts(people)
    os.makedirs(f"{directory}/keys", mode=0o755, exist_ok=True)
    for name, (text, mode) in wanted.items():
        atomic_file.write_text(Path(directory, name), text, mode=mode, durable=False)
    for name in os.listdir(f"{directory}/keys"):
        if f"keys/{name}" not in wanted:
            os.unlink(f"{directory}/keys/{name}")
    marker = Path(directory, "passwords")
    if has_passwords(people):
        atomic_file.write_text(marker, "", durable=False)
    else:
        marker.unlink(missing_ok=True)


def keep(people: People, before: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Keep the numbers, and make the home directories; what cannot be, in words."""
    problems: list[str] = []
    if people.numbers != before:
        try:
            atomic_file.write_text(Path(NUMBERS), json.dumps(people.numbers), mode=0o600)
        except OSError as error:
            problems.append(f"the users' numbers cannot be kept: {error.strerror}")
    for user in people.users:
        try:
            if user.makes_home:
                _make_home(user)
        except OSError as error:
            problems.append(f"user {user.name}: no home directory: {error.strerror}")
    return problems


def _make_home(user: User) -> None:
    """Only root writes to the directory around it: no link can be in the way."""
    name = user.home.removeprefix("/home/")
    path, temporary = f"{HOMES}/{name}", f"{HOMES}/{atomic_file.TEMPORARY_PREFIX}{name}"
    if os.path.lexists(path):
        return
    os.makedirs(HOMES, mode=0o755, exist_ok=True)
    os.makedirs(temporary, mode=0o700, exist_ok=True)
    os.chown(temporary, user.uid, user.gid)
    os.rename(temporary, path)  # it is the user's from its first moment
