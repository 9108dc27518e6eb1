"""The step that runs a command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.engine.build import running
from orlop.engine.build.commands import SCRIPT_DIRECTORY, plan_command
from orlop.engine.build.mounts import prepared_mounts
from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import Mount, MountKind
from orlop.wire.dockerfile import model

if TYPE_CHECKING:
    from orlop.engine.build.builder import Build
    from orlop.engine.build.commands import Command
    from orlop.engine.build.step_images import StageState
    from orlop.engine.container.container import Container


async def run(build: Build, state: StageState, instruction: model.Run, index: int) -> None:
    """RUN.

    Raises:
        BuildFailed, OrlopError: see `running.run`.
    """
    if not state.image_id:
        raise InvalidArgument("Please provide a source image with `from` prior to run")
    command = plan_command(state.config, instruction.command)
    environment = state.config.environment_map()
    known = build.arguments.for_history(environment)
    shown = [f"|{len(known)}"] if known else []
    shown += [f"{name}={value}" for name, value in sorted(known.items())]
    text = " ".join((*shown, *command.words))
    async with prepared_mounts(build, state, instruction.mounts, index) as mounts:
        key = build.key(
            state,
            [
                "run",
                list(command.words),
                command.script,
                dict(sorted(known.items())),
                instruction.network.value,
                mounts.key,
            ],
        )
        # The text of a script or of what is mounted says too little to go by.
        described = "" if command.script or instruction.mounts else text
        if await build.use_cache(state, key, state.config, described):
            return
        network = instruction.network.value
        request = running.RunRequest(
            image_id=state.image_id,
            words=command.words,
            environment=build.arguments.for_command(environment),
            network=build.options.network if network == "default" else network,
            host_config=build.options.host_config,
            mounts=(*mounts.mounts, *_script(build, command)),
            remove=build.options.remove,
            force_remove=build.options.force_remove,
        )

        async def commit(container: Container) -> str | None:
            from orlop.engine.build.commit import commit_upper

            return await commit_upper(build, state, container, mounts.targets)

        await build.keep(state)
        layer = await running.run(build.engine, request, build.output, commit)
    await build.commit(state, key, text, state.config, layer)


def _script(build: Build, command: Command) -> list[Mount]:
    """A program that stands in the Dockerfile."""
    if not command.name:
        return []
    path = build.directory / f"script-{os.urandom(4).hex()}"
    path.write_text(command.script)
    path.chmod(0o755)
    target = f"{SCRIPT_DIRECTORY}/{command.name}"
    return [Mount(MountKind.BIND, target, os.fspath(path), read_only=True)]
