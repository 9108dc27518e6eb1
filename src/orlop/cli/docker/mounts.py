"""`--mount type=...,source=...,target=...` as the API takes it; which `--volume`s are binds."""

from __future__ import annotations

import os

from orlop.cli.docker.flags import parse_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.session import Object

_TRUE, _FALSE = ("1", "true", "True", "TRUE", "t", "T"), ("0", "false", "False", "FALSE", "f", "F")
_FLAGS = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src")


def parse_mount(text: str) -> Object:
    """A Mount of the API.

    Raises:
        ValueError: docker's text.
    """
    mount: Object = {"Type": "volume"}
    bind: Object = {}
    volume: Object = {}
    tmpfs: Object = {}
    for field in _fields(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            if key not in _FLAGS:
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        _set(mount, bind, volume, tmpfs, key, value, field)
    _check(mount, bind, volume, tmpfs)
    if bind:
        mount["BindOptions"] = bind
    if volume:
        mount["VolumeOptions"] = volume
    if tmpfs:
        mount["TmpfsOptions"] = tmpfs
    return mount


def _set(  # noqa: C901 - one key, one line
    mount: Object,
    bind: Object,
    volume: Object,
    tmpfs: Object,
    key: str,
    value: str,
    field: str,
) -> None:
    match key:
        case "type":
            mount["Type"] = value.lower()
        case "source" | "src":
            is_relative = value.startswith("." + os.sep) or value == "."
            mount["Source"] = os.path.abspath(value) if is_relative else value
        case "target" | "dst" | "destination":
            mount["Target"] = value
        case "readonly" | "ro":
            mount["ReadOnly"] = _bool(key, value)
        case "consistency":
            mount["Consistency"] = value.lower()
        case "bind-propagation":
            bind["Propagation"] = value.lower()
        case "bind-recursive":
            _recursive(bind, value)
        case "bind-nonrecursive":
            bind["NonRecursive"] = _bool(key, value)
        case "volume-subpath":
            volume["Subpath"] = value
        case "volume-nocopy":
            volume["NoCopy"] = _bool(key, value)
        case "volume-label":
            _map(volume, "Labels", value)
        case "volume-driver":
            _driver(volume)["Name"] = value
        case "volume-opt":
            _map(_driver(volume), "Options", value)
        case "tmpfs-size":
            try:
                tmpfs["SizeBytes"] = parse_bytes(value)
            except ValueError:
                raise ValueError(f"invalid value for {key}: {value}") from None
        case "tmpfs-mode":
            try:
                tmpfs["Mode"] = int(value, 8)
            except ValueError:
                raise ValueError(f"invalid value for {key}: {value}") from None
        case _:
            raise ValueError(f"unexpected key '{key}' in '{field}'")


def _recursive(bind: Object, value: str) -> None:
    if value == "enabled":
        return
    flags = {"disabled": "NonRecursive", "writable": "ReadOnlyNonRecursive"}
    flags["readonly"] = "ReadOnlyForceRecursive"
    if value not in flags:
        raise ValueError(
            f'invalid value for bind-recursive: {value} (must be "enabled", "disabled", "writable",'
            ' or "readonly")'
        )
    bind[flags[value]] = True


def _driver(volume: Object) -> Object:
    found = volume.setdefault("DriverConfig", {})
    assert isinstance(found, dict)
    return found


def _map(options: Object, name: str, text: str) -> None:
    found = options.setdefault(name, {})
    assert isinstance(found, dict)
    key, _, value = text.partition("=")
    found[key] = value


def _bool(key: str, value: str) -> bool:
    if value not in _TRUE + _FALSE:
        raise ValueError(f"invalid value for {key}: {value}")
    return value in _TRUE


def _check(mount: Object, bind: Object, volume: Object, tmpfs: Object) -> None:
    if not mount.get("Type"):
        raise ValueError("type is required")
    if not mount.get("Target"):
        raise ValueError("target is required")
    for options, kind in ((bind, "bind"), (volume, "volume"), (tmpfs, "tmpfs")):
        if options and mount["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount['Type']}'")


def _fields(text: str) -> list[str]:
    """*text* split at commas; a field in double quotes may hold some."""
    fields, current, quoted = [], "", False
    for char in text:
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            fields.append(current)
            current = ""
        else:
            current += char
    return [*fields, current]


def split_volume(text: str) -> tuple[str | None, str]:
    """A `--volume`: the bind it asks for, or the path of an anonymous volume."""
    source, colon, rest = text.partition(":")
    if not colon:
        return None, text
    if source.startswith("."):
        return f"{os.path.abspath(source)}:{rest}", ""
    return text, ""
