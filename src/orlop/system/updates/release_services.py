"""The services of a release: images loaded and definitions checked, by workers, when it is staged.

Applying it needs nothing of the network then, nor of what was downloaded.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument, NotFound
from orlop.system.config import configuration
from orlop.system.config.configuration import as_map
from orlop.system.services.overlay import ServiceVersion, reference
from orlop.wire.compose import parse_service
from orlop.wire.compose_model import to_json

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json
    from orlop.wire.release import Release, Service


async def bring(boot: Boot, release: Release, incoming: Path) -> dict[str, ServiceVersion]:
    """Have the services of *release* there, whose archives are in *incoming*.

    Raises:
        InvalidArgument: an archive or a definition is not what it should be.
        NotFound: an image comes without its archive, and is not there.
        OrlopError: an image cannot be kept.
    """
    found: dict[str, ServiceVersion] = {}
    for name, service in release.services.items():
        definition = await _definition(boot, release, name, service)
        image = reference(name, service.digest)
        if not boot.images.is_there(image):
            if service.archive is None:
                raise NotFound(
                    f"release {release.version} has no archive for the image of service {name}"
                )
            await boot.images.load(incoming / service.archive.sha256, image, service.digest)
        found[name] = ServiceVersion(service.digest, service.epoch, service.handover, definition)
    return found


async def _definition(boot: Boot, release: Release, name: str, service: Service) -> str:
    """In normal form, as JSON; empty for that inside the image."""
    services, current = boot.services, boot.config.current
    if name in current.services:
        raise InvalidArgument(
            f"release {release.version} has a service {name}, and so has "
            f"{current.service_files.get(name, 'the configuration')}",
            hint=f"orlop service rm {name}",
        )
    if not service.definition:
        if name not in services.names() and release.image.build == boot.machine.release.get(
            "build"
        ):
            raise InvalidArgument(
                f"release {release.version} does not describe service {name}, nor does its image"
            )
        return ""
    others = {*services.names(), *release.services} - {name}
    known: dict[str, Json] = {
        other: to_json(
            services.definition(other) if other in services.names() else parse_service(other, {})
        )
        for other in others
    }
    request: dict[str, Json] = {
        "name": f"{name}.yml",
        "text": service.definition,
        "services": known,
        "files": {},
        "enabled": [],
        "enabling": False,
        "environment": {},
    }
    answer = await configuration.ask_services(boot.children, request)
    described = as_map(as_map(as_map(answer.get("services")).get(name)).get("definition"))
    if not described or len(as_map(answer.get("services"))) != 1:
        raise InvalidArgument(
            f"release {release.version}: the definition of service {name} is to describe that alone"
        )
    return json.dumps(to_json(parse_service(name, described)))
