"""Create requests of clients that speak an older version of the API.

What a field means that came later, or used to mean, is decided here, before the request is looked
at: a client that does not know a field does not mean it. Source: moby's
api/server/router/container/container_routes.go.
"""

from __future__ import annotations

from typing import Any

from orlop.lib.errors import InvalidArgument

_WORDS = """
    HostConfig Healthcheck NetworkingConfig EndpointsConfig Mounts Annotations ConsoleSize IpcMode
    StartInterval Type ReadOnly BindOptions VolumeOptions Subpath CreateMountpoint NonRecursive
    ReadOnlyNonRecursive ReadOnlyForceRecursive
"""
_NAMES = {name.lower(): name for name in _WORDS.split()}

type Version = tuple[int, int]


def as_meant(body: dict[str, Any], version: Version) -> dict[str, Any]:
    """*body* as a client of API *version* means it; the same when it speaks a present one.

    Raises:
        InvalidArgument: it asks for what its version does not have, where dockerd minds.
    """
    if version >= (1, 45):
        return body
    body = _canonical(body)
    sections = (body.get("HostConfig") or {}, body.get("Healthcheck") or {})
    if not all(isinstance(section, dict) for section in sections):
        return body
    host = _object(body, "HostConfig")
    if isinstance(mounts := host.get("Mounts"), list):
        host["Mounts"] = [_mount(each, version) for each in mounts]
    check = _object(body, "Healthcheck")
    if version < (1, 44):
        check.pop("StartInterval", None)
        _refuse_endpoints(body)
    if version < (1, 43):
        host.pop("Annotations", None)
    if version < (1, 42):
        host.pop("ConsoleSize", None)
    if version < (1, 40):
        host["IpcMode"] = host.get("IpcMode") or "shareable"
    return {**body, "HostConfig": host} | ({"Healthcheck": check} if check else {})


def _mount(given: object, version: Version) -> object:
    if not isinstance(given, dict):
        return given
    mount = _canonical(given)
    if _object(mount, "VolumeOptions").get("Subpath"):
        raise InvalidArgument("VolumeOptions.Subpath needs API v1.45 or newer")
    if mount.get("Type") == "bind":
        mount["BindOptions"] = _bind_options(mount, version)
    return mount


def _object(parent: dict[str, Any], key: str) -> dict[str, Any]:
    value = parent.get(key)
    return _canonical(value) if isinstance(value, dict) else {}


def _canonical(fields: dict[str, Any]) -> dict[str, Any]:
    """A copy with the names that are used here spelled one way: Go takes them in any case."""
    exact = {_NAMES[key.lower()]: value for key, value in fields.items() if key.lower() in _NAMES}
    others = {key: value for key, value in fields.items() if key.lower() not in _NAMES}
    return others | exact


def _bind_options(mount: dict[str, Any], version: Version) -> dict[str, Any]:
    options = _object(mount, "BindOptions")
    if version < (1, 44):
        if options.get("ReadOnlyForceRecursive"):
            raise InvalidArgument("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer")
        if mount.get("ReadOnly"):
            options["ReadOnlyNonRecursive"] = True
    if version < (1, 42):
        options.pop("CreateMountpoint", None)
    if version < (1, 40):
        options.pop("NonRecursive", None)
    return options


def _refuse_endpoints(body: dict[str, Any]) -> None:
    names = _object(_object(body, "NetworkingConfig"), "EndpointsConfig")
    if len(names) > 1:
        raise InvalidArgument(
            f"Container cannot be created with multiple network endpoints: {', '.join(names)}"
        )
