"""Fixtures: the directory of images with its namespaces, and a registry with the image `made:1`."""

from __future__ import annotations

from tests.engine.containers.conftest import images
from tests.engine.registry.conftest import loopback, registry

__all__ = ["images", "loopback", "registry"]
