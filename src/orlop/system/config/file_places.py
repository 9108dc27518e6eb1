"""Whether a file of `write_files` can be mounted where it should be in a service's root.

A mount that fails keeps the service from starting, and of a console's that is everybody's way in:
what cannot be is found before. Consoles of other images are not looked at: when one does not start,
the system's own takes its place.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePath

from orlop.lib.linux import open_in_root

IMAGES = Path("/usr/lib/orlop/images")
CONSOLE = "console"


def obstacle(service: str, path: str, images: Path = IMAGES) -> str:
    """Why *path* cannot be a file of *service*; empty if it can, or nobody knows."""
    root = images / service / "rootfs"
    if not root.is_dir():  # commands have the console's image, services of others one of their own
        root = images / CONSOLE / "rootfs"
    try:
        descriptor = open_in_root(root, path, os.O_PATH)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or "it cannot be opened"
    try:
        status = os.fstat(descriptor)
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
    finally:
        os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        return "it is a directory"
    if name != os.path.basename(path) and status.st_mode & 0o111:
        return f"it is a link to the program {name}, which has other names as well"
    return ""


class Places:
    """The files of services up to now: one cannot be a directory of another."""

    def __init__(self) -> None:
        self._files: set[tuple[str, str]] = set()
        self._directories: set[tuple[str, str]] = set()

    def take(self, service: str, path: str) -> bool:
        """Whether *path* is free for a file in *service*, which it is then."""
        above = {(service, os.fspath(parent)) for parent in PurePath(path).parents}
        if (service, path) in self._directories or above & self._files:
            return False
        self._files.add((service, path))
        self._directories |= above
        return True
