"""Data of services as its format changes: copied aside, exchanged back, whatever is interrupted."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from orlop.lib import file_clone
from orlop.lib.children import Children
from orlop.lib.errors import Conflict, Internal, NotFound, ResourceExhausted
from orlop.system.services import data
from orlop.system.services.data import ServiceData
from orlop.system.services.overlay import Overlay, ServiceVersion
from orlop.wire.compose import parse_service
from tests.unit.system.updates.machine_tree import PowerCut, power

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.system.boot import Boot

MOST_CALLS = 60


@dataclass
class Volumes:
    base: Path
    mounted: bool = False

    def get(self, name: str) -> Any:
        if not (self.base / name).exists():
            raise NotFound(name)
        return SimpleNamespace(options={"o": "bind"} if self.mounted else {})

    def path(self, name: str) -> Path:
        return self.base / name / "_data"


@dataclass
class Trash:
    def put(self, path: Path) -> None:
        shutil.rmtree(path, ignore_errors=True)


@dataclass
class Place:
    """A service `db` with the volumes `a` and `b`, and what is known of its data."""

    base: Path
    pid: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.volumes = Volumes(self.base / "volumes")
        self.overlay = Overlay(lambda _: True, "build", self.base / "os/services.json")
        (self.base / "os").mkdir()
        for name in ("a", "b"):
            self.volumes.path(name).mkdir(parents=True)
            self.write(name, "1")

    def write(self, name: str, text: str) -> None:
        (self.volumes.path(name) / "file").write_text(text)

    def read(self) -> str:
        return "".join((self.volumes.path(name) / "file").read_text() for name in "ab")

    def run[T](self, work: Callable[[ServiceData], Any]) -> None:
        async def inner() -> None:
            children = Children()
            children.start()
            definition = parse_service("db", {"volumes": ["a:/a", "b:/b", "missing:/c"]})
            host = SimpleNamespace(volumes=self.volumes, data_trash=Trash())
            services = SimpleNamespace(
                names=lambda: ["db"],
                definition=lambda _: definition,
                refuse=self.refused.__setitem__,
            )
            boot = SimpleNamespace(
                engine=SimpleNamespace(host=host, get=lambda _: SimpleNamespace(pid=self.pid)),
                services=services,
                children=children,
                images=SimpleNamespace(adapt=lambda config: config, overlay=self.overlay),
            )
            try:
                await work(ServiceData(cast("Boot", boot), self.base / "os"))
            finally:
                children.close()

        asyncio.run(inner())

    def bring(self, epoch: int) -> None:
        self.run(lambda found: found.bring("db", epoch))

    def epochs(self) -> Any:
        path = self.base / "os/epochs.json"
        return json.loads(path.read_text()) if path.exists() else {}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    return Place(tmp_path)


def test_forth_and_back(place: Place) -> None:
    place.bring(0)
    assert place.epochs() == {}
    place.bring(2)
    assert (place.read(), place.epochs()) == ("11", {"db": {"epoch": 2}})
    place.write("a", "2")
    place.write("b", "2")
    place.bring(0)
    assert (place.read(), place.epochs()) == ("11", {})
    kept = place.base / "os/data/db@2/a/file"
    assert kept.read_text() == "2"  # nothing is lost
    place.write("a", "1")
    place.bring(2)
    assert place.read() == "11"  # what was written since counts


def test_back_without_a_copy(place: Place) -> None:
    place.bring(2)
    shutil.rmtree(place.base / "os/data")
    with pytest.raises(Conflict, match="no copy"):
        place.bring(1)
    with pytest.raises(Conflict, match="no copy"):
        place.run(lambda found: found.check_room({"db": 1}))
    place.overlay.set("db", ServiceVersion("", 1))
    with pytest.raises(Internal, match="db: "):
        place.run(lambda found: found.bring_all())
    assert "no copy" in place.refused["db"]


def test_not_while_it_runs(place: Place) -> None:
    place.pid = 7
    with pytest.raises(Conflict, match="runs"):
        place.bring(1)
    place.bring(0)


def test_a_volume_from_elsewhere(place: Place) -> None:
    place.volumes.mounted = True
    with pytest.raises(Conflict, match="cannot be copied aside"):
        place.bring(1)


def test_without_room(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MARGIN_BYTES", 1 << 60)
    for work in (lambda f: f.check_room({"db": 1}), lambda f: f.bring("db", 1)):
        with pytest.raises(ResourceExhausted, match="MiB are free"):
            place.run(work)
    assert place.epochs() == {}


def test_a_copy_that_fails(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "worker_argv", lambda *_: ["/bin/false"])
    with pytest.raises(Internal, match="cannot be copied"):
        place.bring(1)
    assert place.epochs() == {}
    assert os.listdir(place.base / "os/data") == []


def test_copies_are_kept_for_a_month(place: Place) -> None:
    place.bring(1)
    copy = place.base / "os/data/db@0"
    place.run(lambda found: found.forget_old({("db", 0)}))
    assert copy.exists()
    os.utime(copy, (0, time.time() - data.KEPT_S - 9))
    place.run(lambda found: found.forget_old({("db", 0)}))
    assert not copy.exists()


def test_of_copies_that_nobody_goes_back_to_some_are_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for epoch in range(1, 6):
        place.bring(epoch)
        # What was made in one tick of the clock is told apart by its name.
        os.utime(place.base / f"os/data/db@{epoch - 1}", (0, time.time() - 100 + epoch))
    place.run(lambda found: found.forget_old({("db", 0)}))
    assert sorted(os.listdir(place.base / "os/data")) == ["db@0", "db@3", "db@4"]
    monkeypatch.setattr(data, "SCARCE", 2.0)
    place.run(lambda found: found.forget_old({("db", 0)}))
    assert os.listdir(place.base / "os/data") == ["db@0"]


def test_a_clone_needs_no_room(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MARGIN_BYTES", 1 << 60)
    monkeypatch.setattr(file_clone, "is_possible", lambda _: True)
    place.run(lambda found: found.check_room({"db": 1}))


@pytest.mark.parametrize("target", [0, 3])
def test_the_power_goes(target: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each call, there and on the way back: the service has its data in one format."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    exchange = data._exchange

    def counted(one: Path, other: Path) -> None:
        os.truncate(other / "file", 1)  # a call that is counted: before it, or with it done
        exchange(one, other)

    monkeypatch.setattr(data, "_exchange", counted)
    for cut_at in range(1, MOST_CALLS):
        (tmp_path / f"{cut_at}").mkdir()
        place = Place(tmp_path / f"{cut_at}")
        place.bring(1)
        place.write("a", "2")
        place.write("b", "2")
        try:
            with power(cut_at) as calls:
                place.bring(target)
        except PowerCut:
            # The boot is the one of either: of the new version, or of the one before it.
            for epoch in (1, target) if cut_at % 2 else (target,):
                if epoch == 1 and target == 0 and "back" not in json.dumps(place.epochs()):
                    continue
                place.bring(epoch)
            place.bring(target)
            assert place.read() == ("11" if target == 0 else "22"), cut_at
            assert place.epochs() == ({} if target == 0 else {"db": {"epoch": 3}})
            continue
        assert len(calls) >= 5
        return
    raise AssertionError("no end")
