"""`RUN --mount=type=…,target=…`: the fields of a mount, checked.

Source: the Dockerfile reference, "RUN --mount"; texts as BuildKit's commands_runmount.go.
"""

from __future__ import annotations

import csv

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile.flags import requires_buildkit
from orlop.wire.dockerfile.model import MountType, RunMount

_KEYS = {
    "type": "type",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "source": "source",
    "src": "source",
    "from": "from",
    "id": "id",
    "sharing": "sharing",
    "size": "size",
    "mode": "mode",
    "uid": "uid",
    "gid": "gid",
}
_FOR = {
    MountType.BIND: {"source", "from"},
    MountType.CACHE: {"source", "from", "id", "sharing", "mode", "uid", "gid"},
    MountType.TMPFS: {"size"},
}
_SHARING = ("shared", "private", "locked")
_NEEDS_SESSION = ("secret", "ssh")


def parse_mount(text: str) -> RunMount:
    """One mount, from the value of the flag.

    Raises:
        InvalidArgument: a field is unknown, missing or wrong, or the type needs BuildKit.
    """
    fields, read_only = _fields(text)
    kind_name = fields.pop("type", "bind").lower()
    if kind_name in _NEEDS_SESSION:
        raise requires_buildkit(f"--mount=type={kind_name}")
    if kind_name not in MountType:
        raise InvalidArgument(f'unsupported mount type "{kind_name}"')
    kind = MountType(kind_name)
    for key in fields:
        if key != "target" and key not in _FOR[kind]:
            raise InvalidArgument(f"unexpected key '{key}' for mount type '{kind}'")
    if not fields.get("target"):
        raise InvalidArgument("target is required" if kind is not MountType.BIND else _NO_TARGET)
    if kind is MountType.CACHE and (fields.get("from") or fields.get("source")):
        raise requires_buildkit("a cache that begins with files of an image")
    if fields.get("sharing", "shared") not in _SHARING:
        raise InvalidArgument(f'unsupported sharing value "{fields["sharing"]}"')
    if read_only is None:
        read_only = kind is MountType.BIND
    if kind is MountType.TMPFS and read_only:
        raise InvalidArgument("a tmpfs mount cannot be read-only")
    return RunMount(
        kind=kind,
        target=fields["target"],
        source=fields.get("source", ""),
        from_=fields.get("from", ""),
        read_only=read_only,
        id=fields.get("id", ""),
        sharing=fields.get("sharing", "shared"),
        size=fields.get("size", ""),
        mode=fields.get("mode", ""),
        uid=fields.get("uid", ""),
        gid=fields.get("gid", ""),
    )


_NO_TARGET = 'invalid mount target "": target is required'


def _fields(text: str) -> tuple[dict[str, str], bool | None]:
    """Known keys by their first name, and whether it is read-only if that is said."""
    try:
        words = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise InvalidArgument(f"failed to parse csv mounts: {error}") from error
    fields: dict[str, str] = {}
    read_only: bool | None = None
    for word in words:
        key, equals, value = word.partition("=")
        key = key.lower()
        if key in ("ro", "readonly", "rw", "readwrite"):
            read_only = _switch(key, value if equals else "true") == (key in ("ro", "readonly"))
            continue
        if key in ("required", "env"):
            # Of secrets and sockets, which are refused as a whole.
            continue
        if key not in _KEYS:
            raise InvalidArgument(f"unexpected key '{key[:80]}' in '{word[:80]}'")
        if not equals:
            raise InvalidArgument(f"invalid field '{word[:80]}' must be a key=value pair")
        fields[_KEYS[key]] = value
    return fields, read_only


def _switch(key: str, value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"invalid value for {key}: {value[:80]}")
    return value.lower() in ("true", "1")
