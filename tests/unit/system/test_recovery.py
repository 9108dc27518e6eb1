"""The lock of recovery mode, where it is kept."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from orlop.lib.password_hash import hash_password
from orlop.system import recovery
from orlop.system.configuration import Configuration
from orlop.system.parameters import parse_parameters

if TYPE_CHECKING:
    from pathlib import Path


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
