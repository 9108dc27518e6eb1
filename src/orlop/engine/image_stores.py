"""Which images an engine has: a store that can change, the directories of the system, or both.

The system's engine has its images from the directories of the release. Others can be brought to it,
for consoles and services that a person adds: they are in a store beside them, which is opened, and
whose code is loaded, when there is one. A directory counts more than an image of the same name.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from orlop.engine.images import DirectoryImages
from orlop.lib.errors import NotFound, OrlopError

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.engine.engine import Engine
    from orlop.engine.images import Image, ImageStore
    from orlop.engine.store.layered import LayeredImages

log = logging.getLogger(__name__)


class BothImages:
    """An `ImageStore` of directories and, once it is opened, a store."""

    def __init__(self, directory: Path) -> None:
        self._directories = DirectoryImages(directory)
        self.store: LayeredImages | None = None

    def get(self, reference: str) -> Image:
        try:
            return self._directories.get(reference)
        except NotFound:
            if self.store is None:
                raise
            return self.store.get(reference)

    def for_container(self, image_id: str, reference: str) -> Image:
        if self.store is not None and image_id in self.store.images:
            return self.store.for_container(image_id, reference)
        return self._directories.for_container(image_id, reference)

    async def mount(self, image: Image, user: str) -> None:
        if self.store is not None and image.id in self.store.images:
            await self.store.mount(image, user)

    def unmount(self, user: str) -> None:
        if self.store is not None:
            self.store.unmount(user)

    def all(self) -> list[Image]:
        return [*self._directories.all(), *(self.store.all() if self.store is not None else ())]


def make_images(engine: Engine) -> ImageStore:
    """The images of *engine*, by its settings; sets `layered` where that is known now."""
    settings = engine.settings
    if settings.late_store_dir is not None:
        return BothImages(settings.images_dir)
    if settings.store_dir is None:
        return DirectoryImages(settings.images_dir)
    engine.layered = _make_store(engine, settings.store_dir)
    return engine.layered


def _make_store(engine: Engine, path: Path) -> LayeredImages:
    from orlop.engine.store.layered import LayeredImages

    store = LayeredImages(engine.settings, path, engine.children)
    store.images_in_use = lambda: {c.record.image_id for c in engine.all()}
    return store


def open_late(engine: Engine, *, make: bool) -> None:
    """Open the store that is beside the directories, if it is there, or if it is to be made.

    Raises:
        OrlopError: it is to be made, and cannot be.
    """
    path, images = engine.settings.late_store_dir, engine.images
    if path is None or engine.layered is not None or not isinstance(images, BothImages):
        return
    if not make and not path.is_dir():
        return
    store = _make_store(engine, path)
    try:
        store.start()
    except OrlopError as error:
        if make:
            raise
        log.error("%s; only the images of the system are there", error)
        return
    engine.layered = images.store = store
    if make:
        store.begin()  # else `Engine.start` does, when it knows its containers
