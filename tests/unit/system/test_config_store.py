"""Versions of the machine's own document: whole, bounded, and back again."""

from pathlib import Path

import pytest

from orlop.lib.errors import NotFound
from orlop.system.config import store as config_store
from orlop.system.config.store import KEPT, ConfigStore, Texts


@pytest.fixture
def store(tmp_path: Path) -> ConfigStore:
    return ConfigStore(str(tmp_path))


def test_nothing(store: ConfigStore) -> None:
    assert store.current() == 0
    assert store.versions() == []
    assert store.trial() is None
    assert store.go_back() == 0
    with pytest.raises(NotFound):
        store.read(1)
    with pytest.raises(NotFound):
        store.switch(1)


def test_versions(store: ConfigStore, tmp_path: Path) -> None:
    store.adopt(Texts())
    number = store.add(Texts("a: 1\n", "b: 2\n"))
    assert (store.current(), number) == (1, 2)
    store.switch(number)
    assert (tmp_path / "config.yml").read_text() == "a: 1\n"
    assert (tmp_path / "config/current/secrets.yml").read_text() == "b: 2\n"
    assert store.read(2) == Texts("a: 1\n", "b: 2\n")
    assert [version.number for version in store.versions()] == [1, 2]
    for path in (tmp_path / "config/versions/2").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "config/versions").stat().st_mode & 0o777 == 0o700
    store.adopt(Texts("again: 1\n"))
    assert len(store.versions()) == 2


def test_a_file_that_somebody_put_there_is_the_first_version(
    store: ConfigStore, tmp_path: Path
) -> None:
    (tmp_path / "config.yml").write_text("mine: 1\n")
    store.adopt(Texts("mine: 1\n"))
    assert (tmp_path / "config.yml").is_symlink()
    assert (tmp_path / "config.yml").read_text() == "mine: 1\n"


def test_what_a_crash_leaves_is_no_version(store: ConfigStore, tmp_path: Path) -> None:
    store.adopt(Texts("a: 1\n"))
    half = tmp_path / "config/versions/.orlop-2"
    half.mkdir()
    (half / "config.yml").write_text("half")
    assert store.add(Texts("b: 1\n")) == 2
    assert store.read(2) == Texts("b: 1\n")


def test_few_are_kept(store: ConfigStore) -> None:
    store.adopt(Texts())
    for number in range(KEPT + 5):
        store.add(Texts(f"n: {number}\n"))
    store.prune()
    assert store.current() == 1
    assert store.read(1) == Texts()
    assert len(store.versions()) == KEPT + 1


def test_trial(store: ConfigStore, tmp_path: Path) -> None:
    store.adopt(Texts("old: 1\n"))
    number = store.add(Texts("new: 1\n"))
    store.begin_trial(1, 120.5)
    store.switch(number)
    trial = store.trial()
    assert trial is not None
    assert (trial.back_to, trial.deadline_s) == (1, 120.5)
    assert trial.boot_id == config_store.boot_id() != ""
    assert store.go_back() == 1
    assert (tmp_path / "config.yml").read_text() == "old: 1\n"
    assert store.trial() is None
    store.begin_trial(1, 1.0)
    store.end_trial()
    assert store.trial() is None
    (tmp_path / "config/trial.json").write_text("{")
    assert store.trial() is None


def test_a_version_that_a_crash_left_half_made_is_in_nobodys_way(store: ConfigStore) -> None:
    number = store.add(Texts("a: 1\n"))
    made = store._versions / f".orlop-{number + 1}"
    made.mkdir()
    (made / ".orlop-0123").write_text("half")
    assert store.add(Texts("b: 2\n")) == number + 1
    assert store.read(number + 1).public == "b: 2\n"
