"""The route table: every path of the API, put together from one list per resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.api import (
    archive,
    build,
    containers,
    execs,
    image_make,
    image_save,
    image_store,
    images,
    registry,
    streams,
    system,
    volumes,
)
from orlop.engine.api.router import Router

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.engine.api.router import Route
    from orlop.engine.engine import Engine


def make_router(engine: Engine, extra_routes: Sequence[Route] = ()) -> Router:
    """Routes for *engine*; of two for the same path, *extra_routes* win."""
    return Router(
        [
            *extra_routes,
            *_network_routes(engine),
            *system.routes(engine),
            *containers.routes(engine),
            *streams.routes(engine),
            *archive.routes(engine),
            *execs.routes(engine),
            *image_make.routes(engine),
            *image_save.routes(engine),
            *build.routes(engine),
            *image_store.routes(engine),
            *registry.routes(engine),
            *images.routes(engine),
            *volumes.routes(engine),
        ]
    )


def _network_routes(engine: Engine) -> list[Route]:
    """None where there are host and none only: those are answered among the images."""
    if engine.host.networks is None:
        return []
    from orlop.engine.api import networks

    return networks.routes(engine)
