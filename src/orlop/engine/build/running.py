"""RUN: a container of this engine on the image of the step before, and what it changed as a layer.

It is a container like any other: `docker ps` shows it, its limits are those of the request. When
the build goes well it is removed; a failed one stays, as dockerd leaves it, unless asked otherwise;
that of a client who left never does.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orlop.engine.api.create_request import parse_create
from orlop.engine.build.output import BuildFailed, short_id
from orlop.engine.build.output_listener import OutputListener
from orlop.engine.container import names
from orlop.engine.container.state import State
from orlop.lib.children import UNKNOWN_STATUS
from orlop.lib.errors import OrlopError
from orlop.wire.docker.fields import Object

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from orlop.engine.build.output import Output
    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.container.container import Container
    from orlop.engine.container.record import Record
    from orlop.engine.engine import Engine
    from orlop.wire.compose_model import Mount

log = logging.getLogger(__name__)

BUILD_LABEL = "org.orlop.build"
"""On the container of a RUN, not on its image; `KEPT` where it is to stay when all went well."""

KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """*host_config* as in a request to create a container; *mounts* are added to those of it."""

    image_id: str
    words: tuple[str, ...]
    environment: Mapping[str, str]
    network: str = "default"
    host_config: Mapping[str, Any] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    remove: bool = True
    force_remove: bool = False


def plan_container(request: RunRequest, name: str, *, networks: bool) -> ContainerConfig:
    """The container for *request*; *networks*: the engine has others than host and none.

    Raises:
        InvalidArgument, NotImplementedYet: a limit or network that cannot be.
    """
    host = {**request.host_config, "NetworkMode": request.network}
    body = {
        "Image": request.image_id,
        "Cmd": list(request.words),
        "Labels": {BUILD_LABEL: "" if request.remove or request.force_remove else KEPT},
        "Env": [f"{key}={value}" for key, value in request.environment.items()],
        "AttachStdout": True,
        "AttachStderr": True,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": host,
    }
    config = parse_create(Object(body), name, networks=networks)
    return dataclasses.replace(config, entrypoint=(), mounts=(*config.mounts, *request.mounts))


def is_abandoned(record: Record) -> bool:
    """Whether it is of a build that a killed engine made: only those of a failed RUN stay."""
    label = dict(record.config.labels).get(BUILD_LABEL)
    if label is None:
        return False
    # Unknown is the status of one that ended while there was no engine.
    has_ended_well = record.exit_code in (0, UNKNOWN_STATUS.code) and label != KEPT
    if record.state is State.EXITED:
        return has_ended_well
    return record.state.is_up or record.state is State.CREATED


async def run(
    engine: Engine,
    request: RunRequest,
    output: Output,
    commit: Callable[[Container], Awaitable[str | None]],
) -> str | None:
    """Run it, pass its output on, and have *commit* keep what it changed; the new layer.

    Raises:
        BuildFailed: it ended with another status than 0. OrlopError: it could not be run.
    """
    name = names.new_name(engine.has_name)
    has_networks = engine.host.networks is not None
    container_id = await engine.create(plan_container(request, name, networks=has_networks))
    container = engine.find(container_id)
    keep = False
    try:
        await output.text(f" ---> Running in {short_id(container_id)}\n")
        code = await _to_its_end(engine, container, output)
        if code:
            keep = not request.force_remove
            command = " ".join(request.words)
            raise BuildFailed(f"The command '{command}' returned a non-zero code: {code}", code)
        layer = await commit(container)
        keep = not (request.remove or request.force_remove)
    finally:
        if not keep:
            await asyncio.shield(_remove(engine, container))
    if not keep:
        await output.text(f" ---> Removed intermediate container {short_id(container_id)}\n")
    return layer


async def _to_its_end(engine: Engine, container: Container, output: Output) -> int:
    listener = OutputListener(container.io.listeners)
    passing = asyncio.get_running_loop().create_task(listener.pass_on(output))
    try:
        await engine.start_container(container.record.id)
        code = await engine.wait(container.record.id)
        # The last output has been delivered; the listener's end comes after it.
        await passing
        return code
    finally:
        listener.close()
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)


async def _remove(engine: Engine, container: Container) -> None:
    with contextlib.suppress(OrlopError):
        await engine.remove_container(container.record.id, force=True, volumes=True)
