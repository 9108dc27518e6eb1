"""Descriptors of archives of a container that cannot be made."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.engine.archives import archive
from orlop.engine.store import container_tree
from orlop.lib.errors import Internal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
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


def test_a_copy_without_a_user_namespace_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @contextlib.asynccontextmanager
    async def entered(container: object) -> AsyncIterator[tuple[dict[str, Any], int]]:
        yield {}, -1

    async def fail() -> int:
        raise Internal("no user namespace")

    container: Any = SimpleNamespace(userns_fd=fail)
    monkeypatch.setattr(archive, "_entered", entered)

    async def body() -> None:
        before = os.listdir("/proc/self/fd")
        with pytest.raises(Internal, match="no user namespace"):
            async with archive.transfer(container, {}):
                pass
        assert os.listdir("/proc/self/fd") == before

    asyncio.run(body())
