"""The worker that reads a container's files, while they change."""

import os
from pathlib import Path

from orlop.engine.store import tree_worker
from orlop.engine.store.tree_worker import ADDED, MODIFIED


def test_a_directory_that_vanishes_is_no_error(tmp_path: Path) -> None:
    """As when the container is deleted while somebody asks what it has changed."""
    for tree in ("upper", "lower"):
        (tmp_path / tree / "etc").mkdir(parents=True)
    (tmp_path / "upper/etc/hosts").touch()
    upper, lower = (os.open(tmp_path / tree, os.O_RDONLY) for tree in ("upper", "lower"))
    try:
        assert list(tree_worker.changes(upper, lower)) == []
        found = tree_worker.walk(upper)
        directory, name, path, status = next(found)
        before = os.stat(tmp_path / "lower/etc")
        (tmp_path / "upper/etc/hosts").unlink()
        (tmp_path / "upper/etc").rmdir()
        assert tree_worker._made_by_start(directory, name, path, status, before)
        assert list(found) == []
        (tmp_path / "upper/etc").mkdir()
        (tmp_path / "upper/etc/mine").touch()
        assert list(tree_worker.changes(upper, lower)) == [(MODIFIED, "etc"), (ADDED, "etc/mine")]
    finally:
        os.close(upper)
        os.close(lower)
