"""What of bench/engine_start needs no engine."""

import stat
from pathlib import Path

import pytest

from bench.engine_start import engines


def test_each_engine_gets_the_same_small_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"\x7fELF")
    busybox.chmod(0o755)
    monkeypatch.setattr(engines, "BUSYBOX", busybox)
    root = engines.make_rootfs(tmp_path / "work")
    program = root / engines.COMMAND[0].removeprefix("/")
    assert program.resolve() == (root / "bin/busybox").resolve()
    assert program.stat().st_mode & stat.S_IXUSR
