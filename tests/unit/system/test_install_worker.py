"""What the installation's worker refuses at the last moment."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.lib.errors import Conflict
from orlop.system import install_disks, install_source, install_worker
from orlop.system.install_disks import Content, Disk

if TYPE_CHECKING:
    from collections.abc import Mapping

DISK = Disk("vda", "/dev/vda", ("virtio-system",), "system", "", 1 << 30, Content.EMPTY)
REQUEST: Mapping[str, Any] = {
    "build": "",
    "disk": ["virtio-system"],
    "image": "",
    "image_sha256": "",
    "wipe": False,
    "keep_state": False,
    "unattended": False,
    "dry_run": True,
}


class Opened:
    """A disk of which nothing is read or written."""

    size_bytes, sector_bytes, closed = 1 << 30, 512, False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("changed", [False, True])
def test_a_disk_is_looked_at_again_when_nobody_else_can_have_it(
    monkeypatch: pytest.MonkeyPatch, *, changed: bool
) -> None:
    """Between the look and the opening its name may have become another disk's."""
    opened = Opened()
    said: list[dict[str, Any]] = []
    image = SimpleNamespace(version="1", id="0" * 16, sha256="0" * 64)
    source = SimpleNamespace(image=image, build="", path="/dev/sr0", bios=b"")
    monkeypatch.setattr(install_source, "find_medium", lambda _: "/dev/sr0")
    monkeypatch.setattr(install_disks, "read_all", lambda _: [DISK])
    monkeypatch.setattr(install_disks, "has_changed", lambda *_: changed)
    monkeypatch.setattr(install_worker, "read_source", lambda *_: source)
    monkeypatch.setattr(install_worker, "_private_mounts", lambda: None)
    monkeypatch.setattr(install_worker, "Target", lambda *_, **__: opened)
    monkeypatch.setattr(install_worker, "plan", lambda *_, **__: ())
    monkeypatch.setattr(install_worker, "report", said.append)
    if changed:
        with pytest.raises(Conflict, match="has changed"):
            install_worker.install(REQUEST)
    else:
        install_worker.install(REQUEST)
        assert said[-1]["result"]["dry_run"] is True
    assert opened.closed
