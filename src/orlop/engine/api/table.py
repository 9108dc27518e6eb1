"""The route table: every path of the API, put together from one list per resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.api import (
    archive,
    containers,
    execs,
    image_store,
    images,
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
            *system.routes(engine),
            *containers.routes(engine),
            *streams.routes(engine),
            *archive.routes(engine),
            *execs.routes(engine),
            *image_store.routes(engine),
            *images.routes(engine),
            *volumes.routes(engine),
        ]
    )
