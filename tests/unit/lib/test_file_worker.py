"""Opening files that a container may exchange meanwhile."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from orlop.lib.file_worker import open_regular

if TYPE_CHECKING:
    from pathlib import Path


def test_a_regular_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    descriptor = open_regular(os.fspath(tmp_path / "file"))
    assert os.read(descriptor, 100) == b"content"
    os.close(descriptor)


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    (tmp_path / "device").symlink_to("/dev/null")
    before = len(os.listdir("/proc/self/fd"))
    try:
        # A pipe without a writer would never answer.
        for name in ("pipe", "directory", "device", "missing"):
            with pytest.raises(FileNotFoundError):
                open_regular(name, directory)
        with pytest.raises(FileNotFoundError):
            open_regular("/dev/null")
        assert len(os.listdir("/proc/self/fd")) == before
    finally:
        os.close(directory)
