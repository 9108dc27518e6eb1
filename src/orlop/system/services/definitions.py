"""Where service definitions come from: the image's own, and those on the state partition.

The image's are in normal form, written by the builder; PID 1 reads them itself. The others come
from the configuration worker, checked. One that is broken is reported and left out; none stops
the boot.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine.runtime.users import read_in_root, resolve
from orlop.lib.errors import OrlopError
from orlop.system import commands
from orlop.system.config import file_places
from orlop.system.services.overlay import is_reference
from orlop.wire.compose import parse_service

if TYPE_CHECKING:
    from orlop.system.config.configuration import Configuration
    from orlop.system.services.overlay import Overlay
    from orlop.wire.compose_model import ServiceDefinition

IMAGES = file_places.IMAGES


@dataclass(slots=True)
class Definitions:
    """Services by name, the file each is from, and what could not be read."""

    services: dict[str, ServiceDefinition] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def collect(
    configuration: Configuration, images: Path = IMAGES, overlay: Overlay | None = None
) -> Definitions:
    """All definitions of this machine; *overlay* has what a release brought beside its image."""
    found = Definitions()
    try:
        names = sorted(os.listdir(images))
    except OSError as error:
        found.problems.append(f"cannot read {images}: {error.strerror}")
        names = []
    for name in names:
        path = images / name / "service.json"
        try:
            found.services[name] = parse_service(name, json.loads(path.read_bytes()))
            found.sources[name] = str(path)
        except FileNotFoundError:
            pass  # an image without a service: for definitions of somebody else
        except (OSError, ValueError, OrlopError) as error:
            found.problems.append(f"{path}: {error}")
    if overlay is not None:
        overlay.add_to(found)
    _add_commands(found, configuration)
    for name, definition in configuration.services.items():
        source = configuration.service_files.get(name, "")
        if name in found.services:
            found.problems.append(f"{source}: service {name} exists in the system, ignoring")
            continue
        found.services[name] = definition
        found.sources[name] = source
    return found


def _add_commands(found: Definitions, configuration: Configuration) -> None:
    """The services that run the configuration's commands, in the console's image."""
    console = found.services.get("console")
    for name in commands.wanted(configuration):
        if console is not None:
            found.services[name] = commands.define(name, console)
            origin = "write_files" if name == commands.RC_LOCAL else name
            found.sources[name] = str(configuration.origins.get(origin, ""))
            if name == commands.BOOTCMD and "engine" in found.services:
                found.services["engine"] = commands.wait_for_bootcmd(found.services["engine"])


def owner(definition: ServiceDefinition, images: Path = IMAGES) -> tuple[int, int]:
    """UID and GID that *definition* runs as, by its image's passwd; root if that is unclear."""
    # What a release brings in the place of one has the same users.
    name = definition.name if is_reference(definition.image) else definition.image
    root = images / name / "rootfs"
    try:
        passwd, group = read_in_root(root, "/etc/passwd"), read_in_root(root, "/etc/group")
        identity = resolve(definition.user, passwd, group)
    except (OSError, OrlopError):
        return 0, 0
    return identity.uid, identity.gid
