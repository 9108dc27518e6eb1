"""FROM: what a stage begins with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from orlop.engine.build import step_images
from orlop.engine.build.credentials import credentials_for
from orlop.engine.build.plan import SCRATCH
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.wire.registry.platform import normalize, parse_platform
from orlop.wire.registry.reference import is_digest, parse_reference

if TYPE_CHECKING:
    from orlop.engine.build.builder import Build
    from orlop.engine.build.plan import PlannedStage
    from orlop.engine.build.step_images import StageState
    from orlop.engine.store.records import ImageRecord
    from orlop.wire.registry.platform import Platform


async def begin(build: Build, planned: PlannedStage) -> StageState:
    """The state before the first step of *planned*.

    Raises:
        NotFound: there is no such image. InvalidArgument: it is for another platform.
    """
    if isinstance(planned.base, int):
        before = build.stages[planned.base]
        return dataclasses.replace(before, command_is_set=False)
    wanted = build.platform
    if planned.platform:
        wanted = parse_platform(planned.platform, build.host)
    if planned.base == SCRATCH:
        state = step_images.scratch(wanted.architecture, wanted.os, wanted.variant)
        step_images.with_path(state)
        return state
    record = await find_image(build, planned.base, wanted)
    state = step_images.from_record(record)
    step_images.with_path(state)
    return state


async def find_image(build: Build, name: str, wanted: Platform | None = None) -> ImageRecord:
    """The image *name*, from the store, or from a registry if need be; it stays for the build.

    Raises:
        NotFound, InvalidArgument: see `begin`.
    """
    record = None
    if not build.options.pull:
        try:
            record = build.store.find(name)
        except NotFound:
            record = None
    if record is None and is_digest(name):
        raise NotFound(f"No such image: {name}")
    if record is None:
        record = await _pull(build, name, wanted or build.platform)
    if wanted is not None:
        _check_platform(record, name, wanted)
    build.session.pin(record.id)
    for diff_id in record.layers:
        build.session.pin(diff_id)
    return record


def _check_platform(record: ImageRecord, name: str, wanted: Platform) -> None:
    config = record.config
    found = normalize(
        str(config.get("os") or wanted.os),
        str(config.get("architecture") or wanted.architecture),
        str(config.get("variant") or ""),
    )
    if (found.os, found.architecture) != (wanted.os, wanted.architecture):
        raise InvalidArgument(
            f"image with reference {name} was found but its platform ({found}) does not match the "
            f"specified platform ({wanted})"
        )


async def _pull(build: Build, name: str, wanted: Platform) -> ImageRecord:
    """From the registry, with the client's credentials; its progress is part of the output."""
    from orlop.engine.registry.service import RegistryService

    reference = parse_reference(name).with_default_tag()
    settings = build.engine.settings
    service = RegistryService(build.store.children, build.store, settings.registries)
    auth = credentials_for(build.registry_auth, reference.domain)
    platform = "" if wanted == build.host else str(wanted)
    await service.pull(reference, platform, auth, build.output.message)
    return build.store.find(name)
