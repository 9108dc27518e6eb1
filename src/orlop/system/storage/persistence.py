"""`orlop.persist`: directories of the consoles that are kept, on the state partition.

The consoles' roots are read-only images. A directory of the list is one below `DIRECTORY`, mounted
in each console and in the user's engine, so that it can be mounted into containers by the name that
it has in a console. What is in force is in a file in /run, for whoever starts a service.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.system.config.files import CONSOLES
from orlop.wire.compose_model import Mount, MountKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop.wire.compose_model import Json

DIRECTORY = "/var/lib/orlop/persist"
IN_FORCE = "/run/orlop/persist"
DEFAULT = ("/opt",)
ALWAYS = ("/root", "/home", "/mnt", "/var")
"""What the services themselves say; see os/services/console/service.yml."""
SERVICES = (*CONSOLES, "agent", "engine")


def wanted(value: Json) -> tuple[str, ...]:
    """The directories that the configuration's *value* stands for."""
    return tuple(str(path) for path in value) if isinstance(value, list) else DEFAULT


def in_force(path: str = IN_FORCE) -> tuple[str, ...]:
    """The directories that services are given now."""
    try:
        return tuple(Path(path).read_text(encoding="utf-8").split("\n")[:-1])
    except OSError:
        return ()


def apply(
    paths: Sequence[str], directory: str = DIRECTORY, record: str = IN_FORCE
) -> tuple[bool, dict[str, str]]:
    """Make the directories and note them; whether that is another list, and what failed. Blocks.

    Nothing is ever taken away: a directory that is not in the list any more stays where it is.
    """
    problems: dict[str, str] = {}
    made: list[str] = []
    for path in paths:
        try:
            os.makedirs(directory + path, mode=0o755, exist_ok=True)
            made.append(path)
        except OSError as error:
            problems[path] = error.strerror or str(error)
    is_first = not os.path.exists(record)
    if not is_first and tuple(made) == in_force(record):
        return False, problems
    text = "".join(f"{path}\n" for path in made)
    atomic_file.write_text(Path(record), text, mode=0o644, durable=False)
    return not is_first, problems


def mounts(service: str, directory: str = DIRECTORY, record: str = IN_FORCE) -> Iterable[Mount]:
    """The mounts through which *service* has what is kept."""
    if service in SERVICES:
        for path in in_force(record):
            yield Mount(MountKind.BIND, path, directory + path)
