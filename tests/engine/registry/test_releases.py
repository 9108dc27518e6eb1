"""Releases as an artifact in a registry: pushed from a repository, checked and brought by a machine
with the worker's real privileges."""

from __future__ import annotations

import asyncio
import gc
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orlop.cli.host import release
from orlop.lib.children import Children
from orlop.lib.errors import NotFound, OrlopError
from orlop.system.updates.fetch import Fetched, Offer, Running, Settings, check, fetch
from tests.unit.cli.test_host_release import Publisher, uki
from tests.unit.cli.test_release_carry import BUILD, step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.engine.registry.registry_host import Registry

pytestmark = [
    pytest.mark.root,
    pytest.mark.engine,
    # The push ends with its process, which here is this one.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What the push leaves open is collected here, not in whatever test comes next."""
    yield
    gc.collect()


def bring(settings: Settings) -> Fetched:
    async def work() -> Fetched:
        children = Children()
        children.start()
        try:
            offer = await check(settings, children)
            assert isinstance(offer, Offer)
            return await fetch(offer, children, lambda _: None)
        finally:
            children.close()

    return asyncio.run(work())


def test_a_release_from_a_registry(registry: Registry, tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.release("1.0", "--channel", "stable")
    place = f"oci://{registry.host}/releases:stable"
    release.main(["push", place, "--out", str(tmp_path / "repo")])
    settings = Settings(
        source=place,
        running=Running(version="0", build="00000000"),
        identity="0a1b",
        root=publisher.settings.root,
        directory=tmp_path / "state",
    )
    [path] = bring(settings).files.values()
    assert path.read_bytes() == uki("1.0", "0123456789abcdef")
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, 65534)
    assert "part" not in "".join(os.listdir(path.parent))
    # The next one: only what is new is sent, and the machine sees it under the same name.
    publisher.release("2.0", "--channel", "stable", changed=b"new")
    release.main(["push", place, "--out", str(tmp_path / "repo")])
    [path] = bring(settings).files.values()
    assert path.read_bytes() == uki("2.0", "0123456789abcdef", b"new")


def test_over_a_barrier(registry: Registry, tmp_path: Path) -> None:
    """Two releases behind, with nothing but the registry."""
    publisher = Publisher(tmp_path)
    for number in (1, 2, 3):
        publisher.release(f"{number}.0", changed=b"changed" * number)
    publisher.channel("set", "--release", "3.0")
    publisher.channel("barrier", "2.0")
    place = f"oci://{registry.host}/releases:walk"
    release.main(["push", place, "--out", str(tmp_path / "repo"), "--channel", "stable"])
    running = Running(version="1.0", build=BUILD, sequence=1)
    settings = replace(publisher.settings, source=place, running=running)
    for version in ("2.0", "3.0"):
        running, image = step(replace(settings, running=running))
        assert running.version == version
        assert image == (tmp_path / f"{version}.efi").read_bytes()


def test_what_is_not_there(registry: Registry, tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    place = f"oci://{registry.host}/nothing:here"
    settings = Settings(
        source=place,
        running=Running(version="0", build="00000000"),
        identity="0a1b",
        root=publisher.settings.root,
        directory=tmp_path / "state",
    )
    with pytest.raises(OrlopError, match="nothing"):
        bring(settings)
    with pytest.raises(NotFound, match="no repository"):
        release.main(["push", place, "--out", str(tmp_path / "repo")])
