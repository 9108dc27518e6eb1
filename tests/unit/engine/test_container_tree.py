"""Descriptors of archives of a container, when there are none left."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.engine.store import container_tree

if TYPE_CHECKING:
    from pathlib import Path


def test_an_archive_that_cannot_begin_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = SimpleNamespace(upper=tmp_path / "upper")
    container: Any = SimpleNamespace(removed=False, layout=layout)

    def fail(flags: int) -> tuple[int, int]:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pipe2", fail)
    before = os.listdir("/proc/self/fd")
    opening = container_tree.diff(container).__aenter__()
    with pytest.raises(OSError, match="Too many"):
        opening.send(None)  # it fails before there is anything to wait for
    assert os.listdir("/proc/self/fd") == before
