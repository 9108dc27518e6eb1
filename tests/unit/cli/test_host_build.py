"""What `./orlop build` leaves in `out/`."""

import os
from pathlib import Path

import pytest

from orlop.cli.host.build import publish
from orlop.cli.host.settings import HostSettings, host_settings
from orlop.lib.errors import Unavailable


@pytest.fixture
def host(tmp_path: Path) -> HostSettings:
    return HostSettings(tmp_path / "checkout", tmp_path / "cache", "session")


@pytest.fixture
def made(tmp_path: Path, host: HostSettings) -> Path:
    host.checkout.mkdir()
    made = tmp_path / "made.iso"
    made.write_text("first")
    return made


def test_files_are_copies(host: HostSettings, made: Path) -> None:
    publish(host, {"orlop.iso": made})
    (host.out / "orlop.iso").write_text("changed by the person")

    assert made.read_text() == "first", "the cache is not theirs to change"


def test_unchanged_files_keep_their_dates(host: HostSettings, made: Path) -> None:
    publish(host, {"orlop.iso": made})
    os.utime(host.out / "orlop.iso", (1, 1))
    publish(host, {"orlop.iso": made})
    assert (host.out / "orlop.iso").stat().st_mtime == 1

    made.write_text("second")
    publish(host, {"orlop.iso": made})
    assert (host.out / "orlop.iso").read_text() == "second"


def test_rubbish_of_a_killed_build_goes(host: HostSettings, made: Path) -> None:
    host.out.mkdir()
    (host.out / ".orlop-orlop.iso").write_text("half")
    publish(host, {"orlop.iso": made})

    assert [path.name for path in host.out.iterdir()] == ["orlop.iso"]


def test_outside_the_tool_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORLOP_CHECKOUT", raising=False)

    with pytest.raises(Unavailable, match="ORLOP_CHECKOUT is not set"):
        host_settings()
