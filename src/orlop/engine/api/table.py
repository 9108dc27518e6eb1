"""The route table: every path of the API, put together from one list per resource.

What an engine is seldom asked for is imported when it first is: PID 1, whose images and volumes
nobody manages, never carries the code for that.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from orlop.engine.api import containers, execs, streams, system
from orlop.engine.api.router import Router

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orlop.engine.api.router import Route
    from orlop.engine.engine import Engine


def _images(engine: Engine) -> list[Route]:
    from orlop.engine.api import image_save, image_store

    return [*image_save.routes(engine), *image_store.routes(engine), *_registry(engine)]


def _registry(engine: Engine) -> list[Route]:
    from orlop.engine.api import registry

    return registry.routes(engine)


def _builds(engine: Engine) -> list[Route]:
    from orlop.engine.api import build

    return build.routes(engine)


def _changes(engine: Engine) -> list[Route]:
    from orlop.engine.api import image_make

    return image_make.routes(engine)


def _archives(engine: Engine) -> list[Route]:
    from orlop.engine.api import archive

    return archive.routes(engine)


def _volumes(engine: Engine) -> list[Route]:
    from orlop.engine.api import volumes

    return volumes.routes(engine)


def _networks(engine: Engine) -> list[Route]:
    if engine.host.networks is None:
        from orlop.engine.api import images

        return images.routes(engine)
    from orlop.engine.api import networks

    return networks.routes(engine)


LATE: Mapping[str, Callable[[Engine], list[Route]]] = {
    "images": _images,
    "auth": _registry,
    "distribution": _registry,
    "build": _builds,
    "session": _builds,
    "grpc": _builds,
    "commit": _changes,
    "export": _changes,
    "changes": _changes,
    "archive": _archives,
    "volumes": _volumes,
    "networks": _networks,
}
"""What makes further routes, by the first or the last segment of their paths."""


def make_router(engine: Engine, extra_routes: Sequence[Route] = ()) -> Router:
    """Routes for *engine*; of two for the same path, *extra_routes* win."""
    if engine.settings.store_dir is not None:
        from orlop.engine.api import build

        build.clean_up(engine)
    return Router(
        [
            *extra_routes,
            *system.routes(engine),
            *containers.routes(engine),
            *streams.routes(engine),
            *execs.routes(engine),
        ],
        {segment: functools.partial(make, engine) for segment, make in LATE.items()},
    )
