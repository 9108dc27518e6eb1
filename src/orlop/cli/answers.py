"""Taking values out of the engine's answers.

The engine says what it sends and the command prints what it finds: a member that an older or
newer engine does not send is empty here, not an error.
"""

from __future__ import annotations

from orlop.lib.errors import Internal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.client import Client

type Object = dict[str, object]


def get_object(client: Client, target: str) -> Object:
    """The JSON object at *target*.

    Raises:
        Internal: it is something else.
    """
    value = client.get(target)
    if not isinstance(value, dict):
        raise Internal(f"the engine's answer to {target} is no object")
    return value


def get_objects(client: Client, target: str) -> list[Object]:
    """The list of JSON objects at *target*.

    Raises:
        Internal: it is something else.
    """
    return objects(client.get(target), target)


def objects(value: object, where: str) -> list[Object]:
    """*value* as the list of objects that it must be; *where* names it in the error."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Internal(f"the engine's {where} is no list of objects")
    return value


def text_of(value: Object, key: str) -> str:
    """The member *key* as text; empty if there is none."""
    found = value.get(key)
    return "" if found is None else str(found)


def number_of(value: Object, *path: str) -> float:
    """The number at the end of *path* through objects; 0 if there is none."""
    found: object = member(value, *path)
    return found if isinstance(found, int | float) else 0


def member(value: object, *path: str) -> object:
    """What is at the end of *path* through objects; None if it breaks off."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def strings_of(value: Object, key: str) -> list[str]:
    """The member *key* as a list of texts; empty if there is none."""
    found = value.get(key)
    return [str(entry) for entry in found] if isinstance(found, list) else []
