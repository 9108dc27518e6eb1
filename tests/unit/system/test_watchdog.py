"""The watchdog, on a file that knows none of its ioctls."""

from pathlib import Path

from orlop.system.watchdog import open_watchdog


def test_absent_and_switched_off(tmp_path: Path) -> None:
    assert open_watchdog(60, (str(tmp_path / "none"),)) is None
    (tmp_path / "dog").touch()
    assert open_watchdog(0, (str(tmp_path / "dog"),)) is None


def test_magic_close(tmp_path: Path) -> None:
    path = tmp_path / "dog"
    path.touch()
    dog = open_watchdog(30, (str(tmp_path / "none"), str(path)))
    assert dog is not None
    assert dog.timeout_s == 30
    dog.pet()
    dog.prepare_shutdown()
    dog.disarm()
    assert path.read_bytes() == b"V"
