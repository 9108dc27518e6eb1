"""The root file system of a container while it runs: an overlay of image and writable layer."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from orlop.lib import mount
from orlop.lib.errors import Internal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orlop.engine.layout import Layout

log = logging.getLogger(__name__)

MAX_OPTIONS_BYTES = 4000
"""What mount(2) takes is a page; an image of a hundred layers needs more."""


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


def mount_rootfs(layout: Layout, lower: Sequence[Path]) -> None:
    """Mount the overlay at `layout.rootfs`; one that is there from before is replaced.

    Raises:
        Internal: with the kernel's reason.
    """
    try:
        for directory in (layout.rootfs, layout.upper, layout.work):
            directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        mount.detach(layout.rootfs)
        mount_overlay(layout.rootfs, lower, layout.upper, layout.work)
    except OSError as error:
        raise Internal(f"cannot mount the root file system: {error}") from error


def unmount_rootfs(layout: Layout) -> None:
    """Take the overlay away. Never raises: a mount that stays is in nobody's way but logged."""
    try:
        mount.detach(layout.rootfs)
    except OSError as error:
        log.warning("cannot unmount %s: %s, ignoring", layout.rootfs, error)
