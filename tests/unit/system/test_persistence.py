"""What is kept of the consoles."""

from pathlib import Path

from orlop.system.storage import persistence


def test_mounts_follow_the_list(tmp_path: Path) -> None:
    directory, record = str(tmp_path / "persist"), str(tmp_path / "record")
    assert not [*persistence.mounts("console", directory, record)]
    assert persistence.apply(("/home", "/opt/x"), directory, record) == (False, {})
    found = [(m.target, m.source) for m in persistence.mounts("console", directory, record)]
    assert found == [("/home", f"{directory}/home"), ("/opt/x", f"{directory}/opt/x")]
    assert (tmp_path / "persist/opt/x").is_dir()
    assert [*persistence.mounts("engine", directory, record)]
    assert not [*persistence.mounts("syslog", directory, record)]
    assert persistence.apply(("/home", "/opt/x"), directory, record) == (False, {})
    (tmp_path / "persist/opt/x/kept").touch()
    assert persistence.apply((), directory, record) == (True, {})
    assert not [*persistence.mounts("console", directory, record)]
    assert persistence.apply(("/home",), directory, record) == (True, {})
    assert (tmp_path / "persist/opt/x/kept").exists()


def test_a_disk_that_takes_no_directory_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "persist").touch()
    record = str(tmp_path / "record")
    _, problems = persistence.apply(("/home",), str(tmp_path / "persist"), record)
    assert problems == {"/home": "Not a directory"}
    assert persistence.in_force(record) == ()


def test_default() -> None:
    assert persistence.wanted(None) == ("/opt",)
    assert persistence.wanted([]) == ()
