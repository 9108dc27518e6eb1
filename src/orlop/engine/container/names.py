"""Names and ids of containers: what is allowed, how they are found, and new ones."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from orlop.lib.errors import Conflict, InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
MAX_NAME_LENGTH = 128

_ADJECTIVES = [
    "able",
    "bold",
    "brisk",
    "bright",
    "calm",
    "clear",
    "deep",
    "eager",
    "fair",
    "fast",
    "firm",
    "fresh",
    "grand",
    "hardy",
    "keen",
    "lively",
    "mellow",
    "merry",
    "noble",
    "plain",
    "quiet",
    "ready",
    "sharp",
    "solid",
    "sound",
    "spry",
    "stout",
    "swift",
    "tidy",
    "trim",
    "true",
    "warm",
]
_SHIP_PARTS = [
    "anchor",
    "ballast",
    "beam",
    "binnacle",
    "boom",
    "bow",
    "bulwark",
    "cabin",
    "capstan",
    "davit",
    "deck",
    "galley",
    "gunwale",
    "halyard",
    "hatch",
    "hawser",
    "helm",
    "hull",
    "jib",
    "keel",
    "lantern",
    "mast",
    "oar",
    "pennant",
    "rudder",
    "sail",
    "sextant",
    "spar",
    "stern",
    "tiller",
    "topsail",
    "winch",
]


def new_id() -> str:
    """64 random hexadecimal digits, never all decimal: a short id must not look like a number."""
    while (text := os.urandom(32).hex())[:12].isdigit():
        pass
    return text


def new_name(taken: Callable[[str], bool]) -> str:
    """Two words, and a number when those are taken."""
    first, second = os.urandom(2)
    adjective = _ADJECTIVES[first % len(_ADJECTIVES)]
    name = f"{adjective}_{_SHIP_PARTS[second % len(_SHIP_PARTS)]}"
    suffix = 1
    while taken(candidate := name if suffix == 1 else f"{name}{suffix}"):
        suffix += 1
    return candidate


def check_name(name: str) -> str:
    """Return *name* without the slash Docker clients may put before it.

    Raises:
        InvalidArgument: not a name.
    """
    plain = name.removeprefix("/")
    if not _NAME.fullmatch(plain) or len(plain) > MAX_NAME_LENGTH:
        raise InvalidArgument(
            f"Invalid container name ({plain[:80]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return plain


def refuse_taken(name: str, id_by_name: Mapping[str, str]) -> None:
    """Raises:
    Conflict: a container has *name*; in dockerd's words.
    """
    if (existing := id_by_name.get(name)) is not None:
        raise Conflict(
            f'Conflict. The container name "/{name}" is already in use by container '
            f'"{existing}". You have to remove (or rename) that container to be able to '
            "reuse that name."
        )


def find[T](ref: str, by_id: Mapping[str, T], id_by_name: Mapping[str, str]) -> T:
    """By full id, then by name, then by unique prefix of an id, as Docker does.

    Raises:
        NotFound: none; InvalidArgument: the prefix fits several.
    """
    if ref in by_id:
        return by_id[ref]
    name = ref.removeprefix("/")
    if name in id_by_name:
        return by_id[id_by_name[name]]
    matches = [id_ for id_ in by_id if id_.startswith(ref)] if ref else []
    if len(matches) > 1:
        raise InvalidArgument(f"Multiple IDs found with provided prefix: {ref}")
    if not matches:
        raise NotFound(f"No such container: {ref}")
    return by_id[matches[0]]
