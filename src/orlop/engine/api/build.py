"""`POST /build`: the classic builder's endpoint, and the cache it leaves.

`DOCKER_BUILDKIT=0 docker build`, Docker's SDKs and Compose's classic builder come here. BuildKit's
own way in, `/session` and `/grpc`, does not exist: `_ping` says that this engine's builder is the
classic one, so that clients do not try.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from orlop.engine.api import filters as filtering
from orlop.engine.api.body import body_pipe
from orlop.engine.api.image_store import publish, remover
from orlop.engine.api.router import Route
from orlop.engine.api.times import parse_time
from orlop.lib.errors import InvalidArgument, NotFound, NotImplementedYet, OrlopError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orlop.engine.api.exchange import Exchange
    from orlop.engine.build.options import BuildOptions
    from orlop.engine.build.service import Builds
    from orlop.engine.build.workspace import Context
    from orlop.engine.engine import Engine

log = logging.getLogger(__name__)


def routes(engine: Engine) -> list[Route]:
    """The rows of the route table that are answered here."""

    async def build(exchange: Exchange) -> None:
        await _build(builds_of(engine), exchange)

    async def prune(exchange: Exchange) -> None:
        await _prune(builds_of(engine), exchange)

    return [
        Route("POST", "/build", build),
        Route("POST", "/build/cancel", _cancel),
        Route("POST", "/build/prune", prune),
        Route("POST", "/session", _no_session),
        Route("POST", "/grpc", _no_session),
    ]


def clean_up(engine: Engine) -> None:
    """Remove what builds left that an earlier engine did not finish, in the background."""
    engine.tasks.start(builds_of(engine).clean_up(), "cleaning up after builds")


def builds_of(engine: Engine) -> Builds:
    """The engine's builds.

    Raises:
        NotImplementedYet: it has no store for images.
    """
    if engine.host.builds is None:
        if engine.layered is None or engine.settings.store_dir is None:
            raise NotImplementedYet("this engine runs the images of the system, and builds none")
        from orlop.engine.build.service import Builds

        engine.host.builds = Builds(engine, engine.layered)
    return engine.host.builds


async def _no_session(exchange: Exchange) -> None:
    from orlop.engine.build.options import BUILDKIT_HINT

    raise NotFound(f"page not found: {BUILDKIT_HINT}")


async def _cancel(exchange: Exchange) -> None:
    raise NotFound("a build is cancelled by closing its connection")


async def _build(builds: Builds, exchange: Exchange) -> None:
    from orlop.engine.build.options import parse_options
    from orlop.engine.build.output import BuildFailed, Output, short_id

    options = parse_options(exchange.query)
    builds.platforms(options)
    async with (
        builds.directory() as directory,
        _context(builds, exchange, options, directory) as context,
    ):
        planned = await asyncio.to_thread(builds.plan, options, context)
        await exchange.begin_stream("application/json")
        output = Output(exchange, quiet=options.quiet)
        auth = exchange.headers.get("x-registry-config", "")
        try:
            image_id = await builds.run(options, context, planned, output, directory, auth)
        except BuildFailed as error:
            await output.error(str(error), error.code)
        except OrlopError as error:
            await output.error(str(error))
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            # Of a disk or a process; the status is out already.
            log.warning("a build failed: %s", error)
            await output.error(error.strerror or str(error))
        else:
            await output.text(f"Successfully built {short_id(image_id)}\n")
            for reference in options.references:
                await output.text(f"Successfully tagged {reference.familiar}\n")
                if (made := builds.store.images.get(image_id)) is not None:
                    publish(builds.engine, made, "tag", reference.familiar)
            await output.result(image_id)
        await exchange.end()


TIME_FILTERS = frozenset({"until", "unused-for"})
PRUNE_FILTERS = frozenset(
    {"until", "unused-for", "id", "parent", "type", "description", "inuse", "shared", "private"}
)


async def _prune(builds: Builds, exchange: Exchange) -> None:
    from orlop.engine.build import upkeep

    filters = filtering.parse_filters(exchange.text("filters"), PRUNE_FILTERS)
    fields = {key: values for key, values in filters.items() if key not in TIME_FILTERS}
    for key, values in fields.items():
        if len(values) > 1:
            raise InvalidArgument(f"filter {key} expects only one value")
    texts = [*filters.get("until", ()), *filters.get("unused-for", ())]
    keep = exchange.integer("reserved-space") or exchange.integer("keep-storage") or 0
    deleted, freed_bytes = await upkeep.prune(
        builds,
        remover(builds.engine, builds.store).delete_unused,
        everything=exchange.flag("all"),
        until_ns=min(map(parse_time, texts), default=None),
        keep_bytes=keep,
        fields={key: next(iter(values)) for key, values in fields.items()},
    )
    builds.engine.events.publish("builder", "prune", "", {"reclaimed": str(freed_bytes)})
    await exchange.respond_json(
        200, {"CachesDeleted": deleted or None, "SpaceReclaimed": freed_bytes}
    )


def cache_usage(engine: Engine) -> list[dict[str, Any]]:
    """`BuildCache` in `GET /system/df`."""
    if engine.settings.store_dir is None:
        return []
    from orlop.engine.build import upkeep

    return upkeep.usage(builds_of(engine))


@contextlib.asynccontextmanager
async def _context(
    builds: Builds, exchange: Exchange, options: BuildOptions, directory: Path
) -> AsyncIterator[Context]:
    """The context, sent or named; closed at the end of the block."""
    from orlop.engine.build.downloads import fetched, is_git, is_url
    from orlop.engine.build.workspace import take_context

    children, dockerfile = builds.engine.children, options.dockerfile
    inside = directory / "context"
    inside.mkdir(mode=0o700)
    if not options.remote:
        async with body_pipe(exchange) as body:
            context = await take_context(children, inside, body, dockerfile=dockerfile)
    elif is_url(options.remote) and not is_git(options.remote):
        async with fetched(builds.engine, options.remote, directory, {}) as found:
            context = await take_context(
                children,
                inside,
                found.descriptor,
                dockerfile=dockerfile,
                plain=found.content_type == "text/plain",
            )
    else:
        raise InvalidArgument(
            f"the build context {options.remote[:200]!r} cannot be fetched by the engine: only "
            "http and https are. A git repository is cloned by the docker command, or by you: "
            "git clone it, and give the directory as the context"
        )
    try:
        yield context
    finally:
        context.close()
