"""Mounts of a service: `volumes` and `tmpfs` of a Compose file, in both their forms."""

from __future__ import annotations

import re

from orlop.wire.compose_model import Mount, MountKind, Propagation
from orlop.wire.compose_values import Fields

_VOLUME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
"""A source that is the name of a volume and no path."""


def absolute(fields: Fields, key: str, path: str) -> str:
    """Raises InvalidArgument unless *path*, the value of *key*, is absolute."""
    if not path.startswith("/") or ".." in path.split("/"):
        fields.fail(key, f"must be an absolute path without .., not {path!r}")
    return path


def parse_mounts(fields: Fields) -> tuple[Mount, ...]:
    """`volumes` and `tmpfs`, in any of their forms."""
    found: list[Mount] = []
    value = fields.take("volumes")
    if value is not None and not isinstance(value, list | tuple):
        fields.fail("volumes", "must be a list")
    for index, item in enumerate(value or ()):
        key = f"volumes[{index}]"
        found.append(
            _short_volume(fields, key, item)
            if isinstance(item, str)
            else _long_volume(fields.inner(key, item))
        )
    found += [_short_tmpfs(fields, item) for item in fields.strings("tmpfs")]
    targets = [mount.target.rstrip("/") for mount in found]
    for target in targets:
        if targets.count(target) > 1:
            fields.fail("volumes", f"{target} is mounted on twice")
    return tuple(found)


def _short_volume(fields: Fields, key: str, text: str) -> Mount:
    """`SOURCE:TARGET[:OPTIONS]`; options are ro, rw and a propagation."""
    source, _, rest = text.partition(":")
    target, _, options = rest.partition(":")
    read_only, propagation = False, Propagation.PRIVATE
    for option in filter(None, options.split(",")):
        match option:
            case "ro":
                read_only = True
            case "rw":
                read_only = False
            case _:
                propagation = fields.check_choice(key, option, Propagation)
    if _VOLUME.fullmatch(source):
        return Mount(MountKind.VOLUME, absolute(fields, key, target), source, read_only)
    return Mount(
        kind=MountKind.BIND,
        source=absolute(fields, key, source),
        target=absolute(fields, key, target),
        read_only=read_only,
        create_host_path=True,  # the short syntax makes a missing directory, as Compose's does
        propagation=propagation,
    )


def _long_volume(fields: Fields) -> Mount:
    kind = fields.check_choice("type", fields.take("type"), MountKind)
    target = absolute(fields, "target", fields.string("target"))
    read_only = fields.boolean("read_only")
    mount = Mount(kind=kind, target=target, read_only=read_only)
    if kind is MountKind.BIND:
        source = absolute(fields, "source", fields.string("source"))
        bind = fields.nested("bind") or Fields(fields.what, {})
        mount = Mount(
            kind=kind,
            target=target,
            source=source,
            read_only=read_only,
            create_host_path=bind.boolean("create_host_path"),
            propagation=bind.choice("propagation", Propagation.PRIVATE),
        )
        bind.finish()
    elif kind is MountKind.VOLUME:
        source = fields.string("source")
        if _VOLUME.fullmatch(source) is None:
            fields.fail("source", f"must be the name of a volume, not {source!r}")
        mount = Mount(kind, target, source, read_only)
    elif (tmpfs := fields.nested("tmpfs")) is not None:
        size_bytes, mode = tmpfs.size_bytes("size"), tmpfs.integer("mode", 0, 0o7777)
        mount = Mount(
            kind=kind, target=target, read_only=read_only, size_bytes=size_bytes, mode=mode
        )
        tmpfs.finish()
    fields.finish()
    return mount


def _short_tmpfs(fields: Fields, text: str) -> Mount:
    """`TARGET[:size=64m,mode=1777]`."""
    target, _, options = text.partition(":")
    values = dict(option.partition("=")[::2] for option in filter(None, options.split(",")))
    mode = values.pop("mode", None)
    inner = fields.inner("tmpfs", values)
    size_bytes = inner.size_bytes("size")
    inner.finish()
    try:
        number = None if mode is None else int(mode, 8)
    except ValueError:
        fields.fail("tmpfs", f"mode must be octal, not {mode!r}")
    return Mount(
        kind=MountKind.TMPFS,
        target=absolute(fields, "tmpfs", target),
        size_bytes=size_bytes,
        mode=number,
    )
