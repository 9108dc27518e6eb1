"""What the installation's worker refuses at the last moment."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.lib.errors import OrlopError
from orlop.lib.fat32 import Piece
from orlop.system.install import disks, kept, worker
from orlop.system.install import source as install_source
from orlop.system.install.disks import Disk
from orlop.system.install.plan import BootPartition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.lib.fat32 import Content

DISK = Disk("vda", "/dev/vda", ("virtio-system",), "system", "", 1 << 30, disks.Content.EMPTY)
REQUEST: Mapping[str, Any] = {
    "build": "",
    "disk": ["virtio-system"],
    "image": "",
    "image_sha256": "",
    "wipe": False,
    "keep_state": False,
    "unattended": False,
    "dry_run": True,
    "config": "",
    "append": "",
}


class Opened:
    """A disk of which nothing is read or written."""

    size_bytes, sector_bytes, closed = 1 << 30, 512, False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("changed", "image_mib", "refused"),
    [
        (False, 20, ""),
        # Between the look and the opening its name may have become another disk's.
        (True, 20, "has changed"),
        (False, 200, "do not fit"),
    ],
)
def test_what_is_looked_at_when_nobody_else_can_have_the_disk(
    monkeypatch: pytest.MonkeyPatch, *, changed: bool, image_mib: int, refused: str
) -> None:
    def files(_append: str) -> dict[str, Content]:
        return {"orlop.efi": Piece(Path("/nowhere"), 0, image_mib << 20)}

    opened = Opened()
    said: list[dict[str, Any]] = []
    image = SimpleNamespace(version="1", id="0" * 16, sha256="0" * 64)
    source = SimpleNamespace(image=image, build="", path="/dev/sr0", bios=b"", files=files)
    monkeypatch.setattr(install_source, "find_medium", lambda _: "/dev/sr0")
    monkeypatch.setattr(disks, "read_all", lambda _: [DISK])
    monkeypatch.setattr(disks, "has_changed", lambda *_: changed)
    monkeypatch.setattr(worker, "read_source", lambda *_: source)
    monkeypatch.setattr(worker, "_private_mounts", lambda: None)
    monkeypatch.setattr(worker, "Target", lambda *_, **__: opened)
    monkeypatch.setattr(worker, "plan", lambda *_, **__: ((0, BootPartition(0, 128 << 20)),))
    monkeypatch.setattr(worker, "report", said.append)
    if refused:
        with pytest.raises(OrlopError, match=refused):
            worker.install(REQUEST)
    else:
        worker.install(REQUEST)
        assert said[-1]["result"]["dry_run"] is True
    assert opened.closed


@pytest.mark.parametrize(
    ("asked", "key_file", "before", "expected"),
    [
        ("", "", "", ""),
        ("", "", "a=1 orlop.state.key=LABEL=K:/k b", "a=1 b orlop.state.key=LABEL=K:/k"),
        ("c", "", "a=1 orlop.state.key=LABEL=K:/k", "c orlop.state.key=LABEL=K:/k"),
        ("", "ID=x:/n", "a=1 orlop.state.key=LABEL=K:/k", "a=1 orlop.state.key=ID=x:/n"),
        ("c", "ID=x:/n", "", "c orlop.state.key=ID=x:/n"),
    ],
)
def test_kernel_parameters_of_a_kept_installation(
    asked: str, key_file: str, before: str, expected: str
) -> None:
    assert kept.join_parameters(asked, key_file, before) == expected
