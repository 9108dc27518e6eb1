"""An engine with networks, and a machine outside of it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.engine.containers.conftest import images, user_engine
from tests.engine.networks.lab import Lab
from tests.engine.services.namespaces import network_namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.containers.engine_host import UserEngine

__all__ = ["images", "lab", "user_engine"]


@pytest.fixture
def lab(user_engine: UserEngine) -> Iterator[Lab]:
    """The engine, and a machine at 192.0.2.2 and 2001:db8::2 that reaches it by one cable."""
    with network_namespace() as outside:
        made = Lab(user_engine, outside)
        made.connect()
        yield made
        made.close()
    for name in made.interfaces():
        subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
