"""Reading who is who in a container's own files."""

from __future__ import annotations

import os
from pathlib import Path

from orlop.engine.runtime.users import read_in_root


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_bytes(b"root:x:0:0::/:\n")
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "fifo")

    assert read_in_root(tmp_path, "/etc/passwd") == b"root:x:0:0::/:\n"
    assert read_in_root(tmp_path, "/link") == b"root:x:0:0::/:\n"
    assert read_in_root(tmp_path, "/etc") == b""
    assert read_in_root(tmp_path, "/fifo") == b""
    assert read_in_root(tmp_path, "/absent") == b""
    assert read_in_root(Path("/"), "/dev/zero") == b""
