"""Volumes and what fills them, without containers."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.engine.archives import copy_worker
from orlop.engine.events import EventHub
from orlop.engine.removal import Trash
from orlop.engine.tasks import TaskSet
from orlop.engine.volumes import driver, fill
from orlop.engine.volumes import volumes as volumes_module
from orlop.engine.volumes.volumes import Volumes
from orlop.lib import atomic_file, mount
from orlop.lib.children import ExitStatus
from orlop.lib.errors import Internal
from orlop.wire.compose_model import Mount, MountKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def make_volumes(tmp_path: Path) -> Volumes:
    trash = Trash(tmp_path / "trash")
    trash.start()
    volumes = Volumes(
        tmp_path / "volumes",
        tmp_path / "mounts",
        events=EventHub(),
        trash=trash,
        children=None,  # type: ignore[arg-type]  # nothing is mounted
        tasks=TaskSet(),
        users=lambda name: [],
    )
    volumes.load()
    return volumes


def test_a_volume_whose_making_is_cancelled_is_not_in_the_way_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    make = Volumes._make

    def slowly(self: Volumes, *arguments: Any) -> None:
        begun.set()
        go_on.wait(10)
        make(self, *arguments)

    async def body() -> None:
        volumes = make_volumes(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr(Volumes, "_make", slowly)
            creation = asyncio.create_task(volumes.create("data"))
            await asyncio.to_thread(begun.wait, 10)
            creation.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await creation
        assert not os.listdir(tmp_path / "volumes")
        assert (await volumes.create("data")).name == "data"

    asyncio.run(body())


def test_a_volume_that_the_disk_has_lost_does_not_take_the_others_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = atomic_file.remove_temporaries

    def remove_temporaries(directory: Path) -> None:
        if directory.name == "broken":
            raise OSError(errno.EUCLEAN, "Structure needs cleaning")
        clean(directory)

    async def body() -> None:
        volumes = make_volumes(tmp_path)
        for name in ("broken", "whole"):
            await volumes.create(name)
        monkeypatch.setattr(atomic_file, "remove_temporaries", remove_temporaries)
        assert [volume.name for volume in make_volumes(tmp_path).all()] == ["whole"]
        assert (tmp_path / "volumes/broken/_data").is_dir()

    asyncio.run(body())


def test_what_was_mounted_by_half_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted: set[Path] = set()

    async def mount_volume(children: object, options: Mapping[str, str], path: Path) -> None:
        mounted.add(path)
        raise Internal("it cannot be made read-only")

    monkeypatch.setattr(driver, "mount_volume", mount_volume)
    monkeypatch.setattr(mount, "detach", mounted.discard)
    monkeypatch.setattr(volumes_module, "_is_mounted", mounted.__contains__)

    async def body() -> None:
        volumes = make_volumes(tmp_path)
        options = (("type", "none"), ("o", "bind,ro"), ("device", "/srv"))
        await volumes.create("data", options=options)
        for _ in range(2):
            with pytest.raises(Internal, match="read-only"):
                await volumes.attach("data", "container")

    asyncio.run(body())


def test_of_two_that_are_made_with_a_new_volume_the_second_waits_until_it_is_whole(
    tmp_path: Path,
) -> None:
    async def body() -> None:
        volumes = make_volumes(tmp_path)
        await volumes.create("data", filling=True)
        begun, go_on, copies = asyncio.Event(), asyncio.Event(), []

        async def run(argv: Sequence[str], **named: object) -> tuple[ExitStatus, bytes]:
            copies.append(argv)
            begun.set()
            await go_on.wait()
            (volumes.path("data") / "file").touch()
            return ExitStatus(0), b""

        host: Any = SimpleNamespace(volumes=volumes, children=SimpleNamespace(run=run))
        mounts = [Mount(MountKind.VOLUME, "/data", source="data")]
        first = asyncio.create_task(fill.fill(host, mounts, tmp_path, "one"))
        await begun.wait()
        second = asyncio.create_task(fill.fill(host, mounts, tmp_path, "two"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not second.done()
        go_on.set()
        await asyncio.gather(first, second)
        assert len(copies) == 1
        assert not volumes.get("data").filling

    asyncio.run(body())


@pytest.mark.parametrize("failing", ["sendfile", "utime"])
def test_what_a_full_disk_left_half_copied_is_copied_wholly_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "page").write_text("whole")
    os.utime(source / "page", (1, 1))

    def copy() -> None:
        flags = os.O_RDONLY | os.O_DIRECTORY
        here, there = os.open(source, flags), os.open(target, flags)
        try:
            copy_worker._Copy().directory(here, there, 0)
        finally:
            os.close(here)
            os.close(there)

    def fail(first: object, *arguments: object, **named: object) -> None:
        if isinstance(first, int):
            os.write(first, b"wh")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(OSError, match="No space"):
            copy()
    copy()
    assert (target / "page").read_text() == "whole"
    assert (target / "page").stat().st_mtime == 1
