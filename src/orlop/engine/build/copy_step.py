"""The steps that make a layer without a container: COPY, ADD, WORKDIR."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from orlop.engine import json_codec
from orlop.engine.build import bases, plan
from orlop.engine.build.copy_job import CopyJob
from orlop.engine.build.copying import CopySource, copying
from orlop.engine.build.downloads import fetch_all, is_url
from orlop.lib.errors import InvalidArgument, OrlopError
from orlop.wire.dockerfile import image_config, model

if TYPE_CHECKING:
    from orlop.engine.build.builder import Build
    from orlop.engine.build.step_images import StageState


async def copy(build: Build, state: StageState, instruction: model.Copy, index: int) -> None:
    """COPY or ADD.

    Raises:
        OrlopError: in dockerd's words, `COPY failed: …`.
    """
    try:
        await _copy(build, state, instruction, index)
    except OrlopError as error:
        text = str(error)
        if text.startswith(("When using", "invalid from flag", "dockerfile parse")):
            raise
        raise type(error)(f"{instruction.keyword} failed: {text}", hint=error.hint) from error


async def _copy(build: Build, state: StageState, instruction: model.Copy, index: int) -> None:
    urls = [source for source in instruction.sources if is_url(source)]
    if urls and instruction.keyword == "COPY":
        raise InvalidArgument("source can't be a URL for COPY")
    sources = tuple(source for source in instruction.sources if not is_url(source))
    layers = await _source_layers(build, instruction.from_, index) if instruction.from_ else None
    async with fetch_all(build, urls, instruction) as fetched:
        job = CopyJob(
            keyword=instruction.keyword,
            sources=sources,
            inline=tuple((item.name, item.content) for item in instruction.heredocs),
            downloads=tuple((item.name, item.modified_s) for item in fetched),
            destination=_destination(state, instruction.destination),
            chown=instruction.chown,
            chmod=instruction.chmod,
            parents=instruction.parents,
            exclude=instruction.exclude,
            unpack=instruction.unpack,
            is_context=layers is None,
        )
        source = CopySource(
            context=build.context if layers is None else None,
            layers=layers,
            downloads=tuple(item.descriptor for item in fetched),
        )
        await _layer(build, state, job, source, instruction)


async def _layer(
    build: Build, state: StageState, job: CopyJob, source: CopySource, instruction: model.Copy
) -> None:
    session = build.session if state.is_new or build.options.no_cache else None
    async with copying(
        build.store, state.layers, source, job, build.directory, session=session
    ) as found:
        key = build.key(state, ["copy", json_codec.encode(job), found.digest])
        text = _history(state, instruction, job, found.digest)
        if await build.use_cache(state, key, state.config, text):
            return
        layer = await found.store(build.session)
        await build.commit(state, key, text, state.config, layer)


def _destination(state: StageState, path: str) -> str:
    """Absolute; a slash or a dot at the end says that it is a directory."""
    if not path:
        raise InvalidArgument("the destination cannot be empty")
    joined = posixpath.join("/", state.config.working_dir, path)
    clean = image_config.join_directory("/", joined)
    says_directory = path.endswith(("/", "/.")) or path in (".", "..")
    return clean if clean == "/" or not says_directory else f"{clean}/"


def _history(state: StageState, instruction: model.Copy, job: CopyJob, digest: str) -> str:
    count = len(instruction.sources) + len(instruction.heredocs)
    kind = "file" if count == 1 else "multi"
    shell = " ".join(state.config.shell_words())
    chown = f" --chown={job.chown}" if job.chown else ""
    short = digest.partition(":")[2]
    return f"{shell} #(nop) {job.keyword}{chown} {kind}:{short} in {job.destination} "


async def _source_layers(build: Build, name: str, index: int) -> tuple[str, ...]:
    """The layers that `--from` means.

    Raises:
        InvalidArgument: `invalid from flag value …`.
    """
    stage = plan.find_stage(name, build.plan.names, index)
    if stage is not None and stage in build.stages:
        return build.stages[stage].layers
    try:
        return (await bases.find_image(build, name)).layers
    except OrlopError as error:
        raise type(error)(f"invalid from flag value {name}: {error}") from error


async def make_workdir(build: Build, state: StageState, path: str) -> None:
    """WORKDIR: the directory is made, if the image has none there."""
    config, comment = image_config.apply(state.config, model.Workdir(path))
    key = build.key(state, ["workdir", config.working_dir])
    text = f"{' '.join(state.config.shell_words())} #(nop) {comment}"
    if await build.use_cache(state, key, config, text):
        return
    job = CopyJob(keyword="WORKDIR", destination=f"{config.working_dir}/", only_directory=True)
    async with copying(build.store, state.layers, CopySource(), job, build.directory) as found:
        layer = await found.store(build.session) if found.needed else None
    await build.commit(state, key, text, config, layer)
