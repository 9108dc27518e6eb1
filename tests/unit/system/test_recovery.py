"""The lock of recovery mode, where it is kept."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from orlop.lib.password_hash import hash_password
from orlop.system import recovery
from orlop.system.config.configuration import Configuration
from orlop.system.machine import Machine
from orlop.system.parameters import parse_parameters
from orlop.system.storage import state
from orlop.system.storage.block_devices import Volume
from orlop.system.storage.state import Choice
from orlop.system.storage.superblock import Superblock


def test_it_is_kept_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "recovery.hash"
    hashed = hash_password("x", rounds=1)
    recovery.keep(Configuration({"orlop": {"recovery": {"password": hashed}}}), str(path))
    assert path.read_text() == hashed + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    recovery.keep(Configuration(), str(path))
    assert not path.exists()


def test_on_the_command_line() -> None:
    hashed = hash_password("x", rounds=1)
    found = parse_parameters(f"orlop.recovery orlop.recovery.password={hashed}")
    assert (found.recovery, found.recovery_password, found.warnings) == (True, hashed, ())
    found = parse_parameters("orlop.recovery.password=secret")
    assert found.recovery_password == ""
    assert "orlop recovery hash" in found.warnings[0]


@pytest.mark.parametrize("directory", ["", "sub/dir"])
def test_on_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, directory: str) -> None:
    """Also where only a directory of it is the state."""
    hashed = hash_password("x", rounds=1)
    kept = tmp_path / "disk" / directory / "lib/orlop/recovery.hash"
    kept.parent.mkdir(parents=True)
    kept.write_text(f"{hashed}\n")
    monkeypatch.setattr(state, "READ_ONLY_TARGET", str(tmp_path / "disk"))
    monkeypatch.setattr(recovery, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(recovery, "mount", lambda *_: None)
    monkeypatch.setattr(recovery, "detach", lambda _: None)
    words = f"orlop.recovery orlop.state.directory={directory}" if directory else "orlop.recovery"
    boot = cast("Any", SimpleNamespace(machine=Machine(parse_parameters(words))))
    volume = Volume("/dev/vda1", Superblock("ext4", "ORLOP_STATE", ""))
    assert asyncio.run(recovery.find_lock(boot, Choice(volume))) == Choice(None)
    assert Path(recovery.LOCK).read_text() == f"{hashed}\n"
