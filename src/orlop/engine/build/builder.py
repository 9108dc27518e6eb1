"""One build: stages in order, steps one after the other, each from the cache or done.

Everything a build changes besides images and the cache is in its directory, which is deleted at its
end, however it ends; what a killed engine leaves there goes at the next start.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.engine import json_codec
from orlop.engine.api.image_store import publish
from orlop.engine.build import bases, cache_sources, copy_step, run_step, step_images
from orlop.engine.build.cache import cache_key
from orlop.engine.build.output import short_id
from orlop.engine.build.step_images import StageState
from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.wire.dockerfile import image_config, model
from orlop.wire.dockerfile.evaluate import expand
from orlop.wire.dockerfile.instructions import parse_trigger
from orlop.wire.dockerfile.source import located

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from orlop.engine.build.cache import BuildCache
    from orlop.engine.build.cache_mounts import CacheMounts
    from orlop.engine.build.cache_sources import CacheSources
    from orlop.engine.build.options import BuildOptions
    from orlop.engine.build.output import Output
    from orlop.engine.build.plan import BuildPlan, PlannedStage
    from orlop.engine.build.workspace import Context
    from orlop.engine.engine import Engine
    from orlop.engine.store.ingest import Ingest
    from orlop.engine.store.layered import LayeredImages
    from orlop.engine.store.records import ImageRecord
    from orlop.wire.compose_model import Json
    from orlop.wire.dockerfile.arguments import Arguments
    from orlop.wire.dockerfile.image_config import ImageConfig
    from orlop.wire.registry.platform import Platform

MAX_TRIGGERS = 1000


@dataclass(slots=True, kw_only=True)
class Build:
    """What the steps of one build share."""

    engine: Engine
    store: LayeredImages
    cache: BuildCache
    cache_mounts: CacheMounts
    options: BuildOptions
    plan: BuildPlan
    arguments: Arguments
    context: Context
    output: Output
    session: Ingest
    directory: Path
    host: Platform
    platform: Platform
    """What the target is to be for."""
    registry_auth: str = ""
    sources: CacheSources | None = None
    """Where steps may be taken from; None: the whole cache."""
    step: int = 0
    stages: dict[int, StageState] = field(default_factory=dict)

    async def run(self) -> str:
        """Build everything that is planned; the id of the last image.

        Raises:
            OrlopError, BuildFailed: a step cannot be done.
        """
        for step in self.plan.arguments:
            await self._announce(step.text)
        state = StageState()
        for planned in self.plan.stages:
            state = await self._stage(planned)
            self.stages[planned.index] = state
        unused = self.arguments.unused()
        if unused:
            await self.output.text(
                f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n"
            )
        if not state.image_id:
            raise InvalidArgument("No image was generated. Is your Dockerfile empty?")
        await self.keep(state)
        return state.image_id

    async def keep(self, state: StageState) -> None:
        """Have the image of *state* be there, even if somebody has pruned it meanwhile."""
        if state.record is not None and state.image_id not in self.store.images:
            async with self.store.lock:
                await self.store.add_image(state.record, ())

    async def _announce(self, text: str) -> None:
        self.step += 1
        await self.output.text(f"Step {self.step}/{self.plan.step_count} : {text}\n")

    async def _stage(self, planned: PlannedStage) -> StageState:
        await self._announce(planned.stage.text)
        self.arguments.begin_stage()
        state = await bases.begin(self, planned)
        await self._triggers(state, planned)
        await self._show(state)
        for step in planned.stage.steps:
            await self._announce(step.text)
            await self._do(state, step, planned.index)
            await self._show(state)
        if state.image_id:
            await self.output.aux(state.image_id)
        return state

    async def _show(self, state: StageState) -> None:
        await self.output.text(f" ---> {short_id(state.image_id)}\n")

    async def _triggers(self, state: StageState, planned: PlannedStage) -> None:
        """What the image asks its children to begin with."""
        triggers = state.config.onbuild[:MAX_TRIGGERS]
        if not triggers:
            return
        state.config = image_config.without_triggers(state.config)
        plural = "s" if len(triggers) > 1 else ""
        await self.output.text(f"# Executing {len(triggers)} build trigger{plural}\n")
        for trigger in triggers:
            await self._do(state, parse_trigger(trigger), planned.index)

    async def _do(self, state: StageState, step: model.Step, index: int) -> None:
        instruction = self._expanded(state, step)
        match instruction:
            case model.Copy():
                await copy_step.copy(self, state, instruction, index)
            case model.Run():
                await run_step.run(self, state, instruction, index)
            case model.Workdir(path):
                await copy_step.make_workdir(self, state, path)
            case _:
                await self._configure(state, step, instruction)

    def _expanded(self, state: StageState, step: model.Step) -> model.Instruction:
        """The instruction with today's values; an ARG is declared, name by name."""
        escape = self.plan.escape
        try:
            if not isinstance(step.instruction, model.Arg):
                return expand(step.instruction, self._values(state), escape)
            pairs: list[tuple[str, str | None]] = []
            for pair in step.instruction.pairs:
                one = expand(model.Arg((pair,)), self._values(state), escape)
                assert isinstance(one, model.Arg)
                ((name, default),) = one.pairs
                self.arguments.declare(name, default)
                pairs.append((name, default))
            return model.Arg(tuple(pairs))
        except InvalidArgument as error:
            raise located(step.line, error) from error

    def _values(self, state: StageState) -> dict[str, str]:
        return self.arguments.values() | state.config.environment_map()

    async def _configure(
        self, state: StageState, step: model.Step, instruction: model.Instruction
    ) -> None:
        """An instruction that changes the configuration alone."""
        try:
            config, comment = image_config.apply(
                state.config, instruction, command_is_set=state.command_is_set
            )
        except InvalidArgument as error:
            raise located(step.line, error) from error
        if isinstance(instruction, model.Maintainer):
            state.author = instruction.name
        state.command_is_set = state.command_is_set or isinstance(instruction, model.Cmd)
        key = self.key(state, [type(instruction).__name__, json_codec.encode(instruction)])
        text = created_by(state, f" {comment}")
        if await self.use_cache(state, key, config, text):
            return
        await self.commit(state, key, text, config)

    # Steps use these.

    def key(self, state: StageState, parts: list[Json]) -> str:
        """The cache's key of a step that *parts* describe."""
        base = dict(state.base) if not state.image_id else {}
        shell = list(state.config.shell_words())
        described: Json = [base, state.author, shell, parts]  # type: ignore[list-item]
        return cache_key(state.image_id, described)

    async def use_cache(self, state: StageState, key: str, config: ImageConfig, text: str) -> bool:
        """Whether the step *text* was done before: *state* is after it then."""
        if self.options.no_cache or state.is_new:
            return False
        image_id = self.cache.find(key, self._may_be_used)
        if image_id is None:
            return await self._use_source(state, key, config, text)
        record = self.store.images[image_id]
        self.session.pin(image_id)
        for diff_id in record.layers:
            self.session.pin(diff_id)
        await self.output.text(" ---> Using cache\n")
        self._advance(state, record, config)
        return True

    async def _use_source(
        self, state: StageState, key: str, config: ImageConfig, text: str
    ) -> bool:
        """Whether an image that the cache is to be taken from has the step in its history."""
        if self.sources is None:
            return False
        found = cache_sources.find_step(self.sources, state, text)
        if found is None:
            return False
        entry, layer = found
        if layer is not None:
            self.session.pin(layer)
            if layer not in self.store.layers:
                return False
        await self.output.text(" ---> Using cache\n")
        await self.commit(state, key, text, config, layer, entry)
        state.is_new = False
        return True

    def _may_be_used(self, image_id: str) -> bool:
        if self.sources is not None and image_id not in self.sources.ancestors:
            return False
        return self._is_whole(image_id)

    def _is_whole(self, image_id: str) -> bool:
        record = self.store.images.get(image_id)
        if record is None or record.removed:
            return False
        return all(diff_id in self.store.layers for diff_id in record.layers)

    async def commit(
        self,
        state: StageState,
        key: str,
        text: str,
        config: ImageConfig,
        layer: str | None = None,
        entry: Mapping[str, Any] | None = None,
    ) -> None:
        """Store the image after a step, with *entry* in its history; *state* is after it then."""
        version = self.engine.settings.version
        document = step_images.make_document(state, config, text, layer, time.time_ns(), version)
        if entry is not None:
            document["history"][-1] = entry
        try:
            record = await step_images.store_image(
                self.store, self.session, document, state.image_id
            )
        except OSError as error:
            raise OrlopError(f"cannot write to the image store: {error.strerror}") from error
        self.cache.add(key, record.id, state.image_id, text)
        publish(self.engine, record, "create")
        self._advance(state, record, config)
        state.is_new = True

    def _advance(self, state: StageState, record: ImageRecord, config: ImageConfig) -> None:
        after = step_images.from_record(record)
        state.image_id, state.layers, state.history = after.image_id, after.layers, after.history
        state.record = record
        state.config = config


def created_by(state: StageState, comment: str) -> str:
    """The history's text of a step that runs nothing, as dockerd writes it."""
    return f"{' '.join(state.config.shell_words())} #(nop) {comment}"
