"""The root file system of a container while it runs: an overlay of image and writable layer."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

from orlop.lib import mount
from orlop.lib.errors import Internal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orlop.engine.container.layout import Layout

log = logging.getLogger(__name__)

MAX_OPTIONS_BYTES = 4000
"""What mount(2) takes is a page; an image of a hundred layers needs more."""


LOOKS = "lower"
"""Directory in RUN with what is mounted for a moment, to be looked at by itself."""

STUB_FILES = (".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf")
"""What a root has that the image need not have: by the first, programs know that they are in a
container; the others are mounted over. Empty ones are in no layer, see `store.tree_worker`."""


def plan_overlay_options(lower: Sequence[Path], upper: Path, work: Path) -> str:
    """Mount data for overlayfs. A path with a colon, comma or backslash needs escaping there."""
    lowers = plan_lower_options(lower)
    # What has changed must stand in the upper directory as a layer would have it.
    plain = "redirect_dir=off,metacopy=off"
    return f"{lowers},upperdir={_escape(upper)},workdir={_escape(work)},{plain}"


def plan_lower_options(lower: Sequence[Path]) -> str:
    """The same of several directories that are only read."""
    return "lowerdir=" + ":".join(_escape(path) for path in lower)


def _escape(path: Path) -> str:
    text = os.fspath(path).replace("\\", "\\\\")
    return text.replace(",", "\\,").replace(":", "\\:")


def mount_overlay(
    target: Path, lower: Sequence[Path], upper: Path | None = None, work: Path | None = None
) -> None:
    """Mount an overlay of *lower*, uppermost first, at *target*; read-only without *upper*.

    Raises:
        OSError: the kernel refused.
    """
    flags = mount.MountFlag(0)
    if upper is None or work is None:
        flags = mount.MountFlag.RDONLY
        options = plan_lower_options(lower)
    else:
        options = plan_overlay_options(lower, upper, work)
    if len(os.fsencode(options)) < MAX_OPTIONS_BYTES:
        mount.mount("overlay", target, "overlay", flags, options)
        return
    parameters: list[tuple[str, str | None]] = [("lowerdir+", os.fspath(path)) for path in lower]
    if upper is None or work is None:
        parameters.append(("ro", None))
    else:
        parameters += [("upperdir", os.fspath(upper)), ("workdir", os.fspath(work))]
        parameters += [("redirect_dir", "off"), ("metacopy", "off")]
    mount.mount_with("overlay", target, parameters)


def mount_rootfs(
    layout: Layout, lower: Sequence[Path], *, userns_fd: int = -1, owner: int = 0
) -> None:
    """Mount the overlay at `layout.rootfs`; one that is there from before is replaced.

    With *userns_fd* the lower directories are mounted with owners shifted as there, and the upper
    one belongs to *owner*.

    Raises:
        Internal: with the kernel's reason.
    """
    try:
        for directory in (layout.rootfs, layout.upper, layout.work):
            directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        mount.detach(layout.rootfs)
        if userns_fd >= 0:
            lower = _shift(layout, lower, userns_fd)
            os.chown(layout.upper, owner, owner)
        mount_overlay(layout.rootfs, lower, layout.upper, layout.work)
    except OSError as error:
        raise Internal(f"cannot mount the root file system: {error}") from error


def make_stubs(root: Path, owner: int) -> None:
    """Make those of `STUB_FILES` in the mounted *root* that are not there and can be; never raises.

    Links in it are not followed.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    for path in STUB_FILES:
        place, _, name = path.rpartition("/")
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            directory = os.open(root, flags)
            stack.callback(os.close, directory)
            if place:
                directory = os.open(place, flags, dir_fd=directory)
                stack.callback(os.close, directory)
            new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            stub = os.open(name, new, 0o644 if place else 0o755, dir_fd=directory)
            stack.callback(os.close, stub)
            if owner:
                os.fchown(stub, owner, owner)


def _shift(layout: Layout, lower: Sequence[Path], userns_fd: int) -> list[Path]:
    """The directories *lower* again, with shifted owners."""
    _unshift(layout)
    shifted = []
    for index, path in enumerate(lower):
        target = layout.shifted / str(index)
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        mount.bind_idmapped(path, target, userns_fd)
        shifted.append(target)
    return shifted


def _unshift(layout: Layout) -> None:
    unmount_below(layout.shifted)


def unmount_below(directory: Path) -> None:
    """Take away the mounts in *directory*, what they were on, and itself; absent is fine.

    Raises:
        OSError: one stays.
    """
    with contextlib.suppress(FileNotFoundError):
        _empty(directory)
        directory.rmdir()


def _empty(directory: Path) -> None:
    for name in os.listdir(directory):
        mount.detach(directory / name)
        (directory / name).rmdir()


def remove_strays(run_dir: Path, ids: frozenset[str]) -> None:
    """Undo what a killed engine mounted for containers other than *ids*, or to look at."""
    strays = []
    with contextlib.suppress(OSError):
        strays = [path for path in (run_dir / "shifted").iterdir() if path.name not in ids]
    for undo, path in ((_empty, run_dir / LOOKS), *((unmount_below, path) for path in strays)):
        try:
            undo(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("cannot unmount in %s: %s, ignoring", path, error)


def unmount_rootfs(layout: Layout) -> None:
    """Take the overlay away. Never raises: a mount that stays is in nobody's way but logged."""
    try:
        mount.detach(layout.rootfs)
        _unshift(layout)
    except OSError as error:
        log.warning("cannot unmount %s: %s, ignoring", layout.rootfs, error)
