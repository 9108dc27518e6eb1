"""Who a container's process runs as: `USER[:GROUP]` looked up in the image's own files.

The files come from an image and may be anything: they are read up to a limit, and a line that is
not one is passed over.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.lib.linux import open_in_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MAX_FILE_BYTES = 1 << 20
MAX_ID = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Identity:
    """What the process runs as; *home* for $HOME."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


def read_in_root(root: Path, path: str) -> bytes:
    """A small regular file as the container sees it; empty when there is none.

    Nothing else is opened: a device that a container made would be the host's, without the bounds
    that the container has.
    """
    try:
        found = open_in_root(root, path, os.O_PATH)
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            return b""
        descriptor = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    finally:
        os.close(found)
    with os.fdopen(descriptor, "rb") as stream:
        try:
            return stream.read(MAX_FILE_BYTES)
        except OSError:
            return b""


def parse_lines(data: bytes, fields: int) -> Iterator[list[str]]:
    """Lines of passwd(5) or group(5) with at least *fields* fields."""
    for line in data.decode(errors="replace").splitlines():
        parts = line.split(":")
        if len(parts) >= fields and not line.startswith("#"):
            yield parts


def resolve(spec: str, passwd: bytes, group: bytes, extra_groups: Sequence[str] = ()) -> Identity:
    """Decide from `user`, `uid`, `user:group`, `uid:gid` or any mixture; empty is root.

    Numbers need no entry. Without a group, the one in passwd counts and the user is in every
    group that names him.

    Raises:
        InvalidArgument: a name without an entry, or a number out of range.
    """
    user, separator, group_name = spec.partition(":")
    uid, gid, name, home = _find_user(user or "0", passwd)
    groups: set[int] = set()
    if separator and group_name:
        gid = _find_group(group_name, group)
    elif name is not None:
        for parts in parse_lines(group, 4):
            if name in parts[3].split(",") and (number := _number(parts[2])) is not None:
                groups.add(number)
    groups.update(_find_group(extra, group) for extra in extra_groups)
    # Docker names the first one among the others too, and `id` shows it.
    return Identity(uid, gid, (gid, *sorted(groups - {gid})), home)


def _find_user(user: str, passwd: bytes) -> tuple[int, int, str | None, str]:
    wanted = _wanted_number(user)
    for parts in parse_lines(passwd, 6):
        uid, gid = _number(parts[2]), _number(parts[3])
        if uid is None or gid is None:
            continue
        if parts[0] == user or uid == wanted:
            return uid, gid, parts[0], parts[5] or "/"
    if wanted is None:
        raise InvalidArgument(f"unable to find user {user}: no matching entries in passwd file")
    return wanted, 0, None, "/root" if wanted == 0 else "/"


def _find_group(group_name: str, group: bytes) -> int:
    wanted = _wanted_number(group_name)
    if wanted is not None:
        return wanted
    for parts in parse_lines(group, 3):
        if parts[0] == group_name and (number := _number(parts[2])) is not None:
            return number
    raise InvalidArgument(f"unable to find group {group_name}: no matching entries in group file")


def _wanted_number(text: str) -> int | None:
    """As `_number`, of what somebody asked for and not what a file says."""
    if text.startswith("-") and _number(text[1:]) is not None:
        raise InvalidArgument(f"uids and gids must be in range 0-{MAX_ID}")
    return _number(text)


def _number(text: str) -> int | None:
    if not text.isascii() or not text.isdigit():
        return None
    number = int(text)
    if number > MAX_ID:
        raise InvalidArgument(f"uids and gids must be in range 0-{MAX_ID}")
    return number
