"""The builds of one engine: their cache, their directories, and what can be cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
from typing import TYPE_CHECKING

from orlop.engine.build.builder import Build
from orlop.engine.build.cache import BuildCache
from orlop.engine.build.cache_mounts import CacheMounts
from orlop.engine.build.plan import plan_build
from orlop.engine.build.running import is_abandoned
from orlop.lib import mount
from orlop.lib.errors import OrlopError, ResourceExhausted
from orlop.wire.dockerfile.arguments import Arguments, platform_arguments
from orlop.wire.dockerfile.dockerfile import group
from orlop.wire.registry.platform import host_platform, parse_platform

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orlop.engine.build.cache_sources import CacheSources
    from orlop.engine.build.options import BuildOptions
    from orlop.engine.build.output import Output
    from orlop.engine.build.plan import BuildPlan
    from orlop.engine.build.workspace import Context
    from orlop.engine.engine import Engine
    from orlop.engine.store.layered import LayeredImages
    from orlop.wire.registry.platform import Platform

log = logging.getLogger(__name__)

MAX_BUILDS = 16
"""At the same time; a further one waits."""


class Builds:
    """Made with the engine's routes; touches nothing before the first build."""

    def __init__(self, engine: Engine, store: LayeredImages) -> None:
        self.engine = engine
        self.store = store
        self._directory = engine.settings.data_dir / "build"
        self.cache = BuildCache(self._directory / "cache")
        self.cache_mounts = CacheMounts(self._directory / "mounts")
        self._slots = asyncio.Semaphore(MAX_BUILDS)

    @contextlib.asynccontextmanager
    async def directory(self) -> AsyncIterator[Path]:
        """A directory for one build, deleted afterwards.

        Raises:
            ResourceExhausted: it cannot be made.
        """
        async with self._slots:
            work = self._directory / "work"
            path = work / os.urandom(8).hex()
            try:
                work.mkdir(parents=True, exist_ok=True, mode=0o711)
                path.mkdir(mode=0o711)
            except OSError as error:
                raise ResourceExhausted(f"cannot begin a build: {error.strerror}") from error
            try:
                yield path
            finally:
                self.discard(path)

    async def clean_up(self) -> None:
        """Undo what builds of a killed engine have left. Before the first build; never raises."""
        work = self._directory / "work"
        try:
            for entry in reversed(mount.read_mounts()):
                if entry.target.is_relative_to(work):
                    mount.detach(entry.target)
            for path in list(work.iterdir()) if work.is_dir() else []:
                self.discard(path)
        except OSError as error:
            log.warning("cannot clean up after earlier builds: %s, ignoring", error)
        for container in self.engine.all():
            if is_abandoned(container.record):
                with contextlib.suppress(OrlopError):
                    await self.engine.remove_container(
                        container.record.id, force=True, volumes=True
                    )

    def discard(self, path: Path) -> None:
        """Delete *path* in the background; never raises."""
        with contextlib.suppress(OSError):
            self.engine.host.data_trash.put(path)

    def plan(self, options: BuildOptions, context: Context) -> tuple[BuildPlan, Arguments]:
        """What is to be done.

        Raises:
            InvalidArgument: the Dockerfile or the options are wrong.
        """
        host, wanted = self.platforms(options)
        arguments = Arguments(options.arguments, platform_arguments(str(host), str(wanted)))
        dockerfile = group(context.source)
        plan = plan_build(dockerfile, arguments, target=options.target, labels=options.labels)
        return plan, arguments

    def platforms(self, options: BuildOptions) -> tuple[Platform, Platform]:
        """This machine's platform and the one that is wanted."""
        host = host_platform(platform.machine())
        return host, parse_platform(options.platform, host) if options.platform else host

    def _sources(self, options: BuildOptions) -> CacheSources | None:
        """The images of `--cache-from` that are here; the others are passed over."""
        if not options.cache_from:
            return None
        from orlop.engine.build import cache_sources

        records = []
        for name in options.cache_from:
            with contextlib.suppress(OrlopError):
                records.append(self.store.find(name))
        return cache_sources.gather(self.store, records)

    async def run(
        self,
        options: BuildOptions,
        context: Context,
        planned: tuple[BuildPlan, Arguments],
        output: Output,
        directory: Path,
        registry_auth: str,
    ) -> str:
        """Build; the image's id, with all its names.

        Raises:
            OrlopError, BuildFailed: the build failed.
        """
        plan, arguments = planned
        host, wanted = self.platforms(options)
        for warning in context.source.warnings:
            await output.text(f"{warning}\n")
        async with self.store.ingest() as session:
            build = Build(
                engine=self.engine,
                store=self.store,
                cache=self.cache,
                cache_mounts=self.cache_mounts,
                options=options,
                plan=plan,
                arguments=arguments,
                context=context,
                output=output,
                session=session,
                directory=directory,
                host=host,
                platform=wanted,
                registry_auth=registry_auth,
                sources=self._sources(options),
            )
            image_id = await build.run()
            for reference in options.references:
                await self.store.tag(image_id, reference)
            return image_id
