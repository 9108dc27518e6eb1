"""`Binds`, `Mounts`, `Tmpfs`, `Volumes` and `VolumesFrom` of a create request, as mounts.

A volume is named here and made later (`engine.volumes.mounts`); an anonymous one has no source yet.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from orlop.engine.container.config import VolumeRequest
from orlop.lib.errors import InvalidArgument, NotFound, NotImplementedYet
from orlop.lib.units import parse_size_bytes
from orlop.wire.compose_model import Mount, MountKind, Propagation

if TYPE_CHECKING:
    from orlop.wire.docker.fields import Object

_LABELS = ("z", "Z")
_CONSISTENCY = ("consistent", "cached", "delegated", "default")
_COPY = ("nocopy", "copy")
_TMPFS_DEFAULTS = ("nosuid", "nodev", "noexec")
_TMPFS_FLAG_NAMES = """
    ro rw exec noexec suid nosuid dev nodev sync async atime noatime diratime nodiratime
    relatime norelatime strictatime nostrictatime
"""
_TMPFS_FLAGS = frozenset(_TMPFS_FLAG_NAMES.split())
_TMPFS_KEYS = frozenset(("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"))
_LOCAL_DRIVERS = ("", "local")


def parse_mounts(body: Object, host: Object) -> tuple[tuple[Mount, ...], tuple[VolumeRequest, ...]]:
    """Every mount of the request, and how to make the volumes among them.

    Raises:
        InvalidArgument, NotImplementedYet: in dockerd's words.
    """
    driver = host.text("VolumeDriver")
    mounts = [parse_bind(text) for text in host.texts("Binds")]
    requests = [VolumeRequest(m.target, driver) for m in mounts if m.kind is MountKind.VOLUME]
    for item in host.sections("Mounts"):
        mount = _parse_mount(item)
        mounts.append(mount)
        if mount.kind is MountKind.VOLUME:
            requests.append(_parse_volume_options(item.section("VolumeOptions"), mount.target))
    mounts += [_parse_tmpfs(target, options) for target, options in host.text_map("Tmpfs")]
    seen: set[str] = set()
    for mount in mounts:
        if mount.target in seen:
            raise InvalidArgument(f"Duplicate mount point: {mount.target}")
        seen.add(mount.target)
    for text in body.keys("Volumes"):
        target = _target(text)
        if target not in seen:
            seen.add(target)
            mounts.append(Mount(MountKind.VOLUME, target))
            requests.append(VolumeRequest(target, driver))
    for request in requests:
        _check_driver(request.driver)
    return tuple(mounts), tuple(requests)


def bind_modes(host: Object) -> dict[str, str]:
    """The propagation that was asked for, by target; of a request that `parse_mounts` takes."""
    found = {}
    for text in host.texts("Binds"):
        _, target, *mode = text.split(":") if ":" in text else ("", text)
        words = mode[0].split(",") if mode else ()
        found[_target(target)] = next((w for w in words if _recursive(w) in Propagation), "")
    for item in host.sections("Mounts"):
        target = _target(item.text("Target"))
        found[target] = item.section("BindOptions").text("Propagation")
    return found


def parse_volumes_from(host: Object) -> tuple[str, ...]:
    """`VolumesFrom`: `CONTAINER[:ro|rw]`, checked as far as it can be here."""
    for text in host.texts("VolumesFrom"):
        if not text:
            raise InvalidArgument("volumes-from specification cannot be an empty string")
        mode = text.partition(":")[2]
        if mode and not set(mode.split(",")) <= {"ro", "rw", *_LABELS, *_CONSISTENCY}:
            raise InvalidArgument(f"invalid mode: {mode[:40]}")
    return host.texts("VolumesFrom")


def parse_bind(text: str) -> Mount:
    """`/source:/target[:ro,rslave …]`, `volume:/target[:nocopy …]` or just `/target`."""
    parts = text.split(":")
    wrong = f"invalid volume specification: '{text[:200]}'"
    if len(parts) > 3 or not parts[0] or (len(parts) == 2 and _is_mode(parts[1])):
        raise InvalidArgument(wrong)
    source, target = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    mode = parts[2] if len(parts) == 3 else ""
    if not _is_mode(mode):
        raise InvalidArgument(f"invalid mode: {mode[:40]}")
    words = mode.split(",") if mode else []
    kind = MountKind.BIND if source.startswith("/") else MountKind.VOLUME
    try:
        target = _target(target)
        chosen = [word for word in words if word in Propagation or f"r{word}" in Propagation]
        if chosen and kind is MountKind.VOLUME:
            raise InvalidArgument("field BindOptions must not be specified")
    except InvalidArgument as error:
        cause = f'invalid mount config for type "{kind.value}": {error}'
        raise InvalidArgument(f"{wrong}: {cause}") from error
    if "nocopy" in words and kind is MountKind.BIND:
        raise InvalidArgument(f"invalid mode: {mode[:40]}")
    return Mount(
        kind,
        target,
        posixpath.normpath(source) if kind is MountKind.BIND else source,
        "ro" in words,
        create_host_path=True,
        propagation=Propagation(_recursive(chosen[0])) if chosen else Propagation.PRIVATE,
        no_copy="nocopy" in words,
        mode_text=mode,
    )


def _is_mode(text: str) -> bool:
    """Whether *text* is a list of modes, at most one of each kind."""
    groups = (("ro", "rw"), _LABELS, _COPY, _CONSISTENCY)
    counts = [0] * (len(groups) + 1)
    for word in text.split(",") if text else ():
        if word in Propagation or f"r{word}" in Propagation:
            counts[-1] += 1
            continue
        for index, group in enumerate(groups):
            if word in group:
                counts[index] += 1
                break
        else:
            return False
    return max(counts) <= 1


def _recursive(propagation: str) -> str:
    return propagation if propagation in Propagation else f"r{propagation}"


def _parse_tmpfs(target: str, text: str) -> Mount:
    """An entry of `Tmpfs`: mount options as for mount(8), over Docker's defaults."""
    options: dict[str, str] = {flag.removeprefix("no"): flag for flag in _TMPFS_DEFAULTS}
    size: int | None = None
    mode: int | None = None
    for option in filter(None, text.split(",")):
        key, equals, value = option.partition("=")
        if not equals and key in _TMPFS_FLAGS:
            slot = "access" if key in ("ro", "rw") else key.removeprefix("no")
            options[slot] = key
        elif equals and key in _TMPFS_KEYS and value and value.isascii() and value.isprintable():
            options[key] = option
            if key == "size" and not value.endswith("%"):
                size = parse_size_bytes(value)
            elif key == "mode":
                mode = _octal(value)
        else:
            raise InvalidArgument(f"Invalid tmpfs option {option[:80]!r}")
    options.setdefault("mode", "mode=1777")
    if size is not None:
        options["size"] = f"size={size}"
    return Mount(
        MountKind.TMPFS,
        _target(target),
        read_only=options.get("access") == "ro",
        size_bytes=size,
        mode=mode,
        options=tuple(options.values()),
        mode_text=text,
        listed=False,
    )


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise InvalidArgument(f"invalid tmpfs mode {text[:40]!r}") from None


def _parse_mount(item: Object) -> Mount:
    kind = item.text("Type")
    try:
        if not item.text("Target"):
            raise InvalidArgument("field Target must not be empty")
        target = _target(item.text("Target"))
        match kind:
            case "bind":
                return _parse_bind_mount(item, target)
            case "volume":
                return _parse_volume_mount(item, target)
            case "tmpfs":
                return _parse_tmpfs_mount(item, target)
            case "image" | "npipe" | "cluster":
                raise NotImplementedYet(f"mounts of type {kind!r} are not supported")
            case _:
                raise InvalidArgument("mount type unknown")
    except InvalidArgument as error:
        text = f'invalid mount config for type "{kind[:40]}": {error}'
        raise InvalidArgument(text) from error


def _parse_bind_mount(item: Object, target: str) -> Mount:
    options = item.section("BindOptions")
    _refuse(item, "VolumeOptions", "TmpfsOptions")
    source = item.text("Source")
    if not source:
        raise InvalidArgument("field Source must not be empty")
    if not source.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{source[:200]}' mount path must be absolute")
    word = options.text("Propagation") or "rprivate"
    if _recursive(word) not in Propagation:
        raise InvalidArgument(f"invalid propagation mode: {word[:40]}")
    read_only = item.flag("ReadOnly")
    only_top, force = options.flag("ReadOnlyNonRecursive"), options.flag("ReadOnlyForceRecursive")
    if (only_top or force) and not read_only:
        raise InvalidArgument("field BindOptions.ReadOnly... needs ReadOnly")
    if force and (only_top or word not in ("rprivate", "")):
        raise InvalidArgument("ReadOnlyForceRecursive needs propagation rprivate")
    return Mount(
        MountKind.BIND,
        target,
        posixpath.normpath(source),
        read_only,
        options.flag("CreateMountpoint"),
        propagation=Propagation(_recursive(word)),
        recursive=not options.flag("NonRecursive"),
        read_only_recursive=not only_top,
    )


def _parse_volume_mount(item: Object, target: str) -> Mount:
    options = item.section("VolumeOptions")
    _refuse(item, "BindOptions", "TmpfsOptions")
    source, read_only = item.text("Source"), item.flag("ReadOnly")
    if read_only and not source:
        raise InvalidArgument("must not set ReadOnly mode when using anonymous volumes")
    subpath = options.text("Subpath")
    if subpath and not source:
        raise InvalidArgument("must not set Subpath when using anonymous volumes")
    if subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
        raise InvalidArgument("subpath must be a relative path within the volume")
    return Mount(
        MountKind.VOLUME,
        target,
        source,
        read_only,
        no_copy=options.flag("NoCopy"),
        mode_text="z",
        subpath=posixpath.normpath(subpath) if subpath else "",
    )


def _parse_volume_options(options: Object, target: str) -> VolumeRequest:
    driver = options.section("DriverConfig")
    return VolumeRequest(
        target,
        driver.text("Name"),
        driver.text_map("Options"),
        options.text_map("Labels"),
    )


def _parse_tmpfs_mount(item: Object, target: str) -> Mount:
    options = item.section("TmpfsOptions")
    _refuse(item, "BindOptions", "VolumeOptions")
    if item.text("Source"):
        raise InvalidArgument("field Source must not be specified")
    access = "ro" if item.flag("ReadOnly") else "rw"
    size, mode = options.integer("SizeBytes"), options.integer("Mode")
    if size < 0 or mode < 0:
        raise InvalidArgument("invalid tmpfs options: negative value")
    chosen = "noexec"
    for words in options.lists("Options"):
        if len(words) != 1 or words[0] not in ("exec", "noexec"):
            raise InvalidArgument(f"invalid option: {' '.join(words)[:40]}")
        chosen = words[0]
    result = ["nosuid", "nodev", chosen, access, f"mode={mode or 0o1777:o}"]
    if size:
        result.append(f"size={size}")
    return Mount(
        MountKind.TMPFS,
        target,
        read_only=item.flag("ReadOnly"),
        size_bytes=size or None,
        mode=mode or None,
        options=tuple(result),
    )


def _refuse(item: Object, *keys: str) -> None:
    for key in keys:
        if key in item:
            raise InvalidArgument(f"field {key} must not be specified")


def _check_driver(name: str) -> None:
    if name not in _LOCAL_DRIVERS:
        raise NotFound(
            f'error looking up volume plugin {name[:80]}: plugin "{name[:80]}" not found'
        )


def _target(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{path[:200]}' mount path must be absolute")
    clean = posixpath.normpath(path)
    # A double slash at the beginning means something to POSIX, but nothing to Linux.
    clean = "/" + clean.lstrip("/")
    if clean == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'")
    return clean
