"""The owner of the configuration: what it does about a trial of an earlier boot."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from orlop.system.boot import Boot
from orlop.system.boot_channel import uptime_s
from orlop.system.config.configuration import copy_path
from orlop.system.config.control import ConfigControl, stale_copies
from orlop.system.config.store import ConfigStore, Texts


@pytest.fixture
def store(tmp_path: Path) -> ConfigStore:
    store = ConfigStore(str(tmp_path))
    store.adopt(Texts("hostname: before\n"))
    number = store.add(Texts("hostname: trial\n"))
    store.begin_trial(1, uptime_s() + 600)
    store.switch(number)
    return store


def begin(store: ConfigStore) -> tuple[ConfigControl, list[str]]:
    """A boot with *store*, up to its first reading; what it warned of."""
    warnings: list[str] = []
    machine = SimpleNamespace(state=None, warn=warnings.append)
    control = ConfigControl(cast("Boot", SimpleNamespace(machine=machine)), "")
    control.store = store

    async def run() -> None:
        await control._look_after_trial()
        control._stop_timer()

    asyncio.run(run())
    return control, warnings


def test_it_does_not_outlive_the_boot(store: ConfigStore, tmp_path: Path) -> None:
    trial = tmp_path / "config/trial.json"
    trial.write_text(trial.read_text().replace('"boot_id": "', '"boot_id": "not '))
    _, warnings = begin(store)
    assert store.current() == 1
    assert (tmp_path / "config.yml").read_text() == "hostname: before\n"
    assert warnings == [
        "the configuration was not confirmed before the machine ended: version 1 is in force again"
    ]
    assert begin(store)[1] == []


def test_copies_of_what_is_no_source_any_more(tmp_path: Path) -> None:
    base = str(tmp_path)
    assert stale_copies({"/a/b.yml"}, base) == []
    for path in ("/a/b.yml", "/a/c.yml"):
        copy = Path(copy_path(path, base))
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.touch()
    assert stale_copies({"/a/b.yml"}, base) == [copy_path("/a/c.yml", base)]


def test_it_goes_on_in_the_same_boot(store: ConfigStore) -> None:
    assert begin(store)[1] == []
    assert store.current() == 2
    assert store.trial() is not None
