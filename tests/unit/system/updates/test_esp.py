"""After an update that was interrupted, room that belongs to no file is given back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orlop.lib import fat_orphans
from orlop.system.updates import esp

if TYPE_CHECKING:
    import pytest


def test_whatever_comes_of_it_the_boot_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []

    def give_back(device: str) -> int:
        given.append(device)
        if device == "/dev/broken":
            raise OSError
        return 7

    monkeypatch.setattr(fat_orphans, "give_back", give_back)
    for device in ("", "/dev/broken", "/dev/vda2"):
        found = [device] if device else []
        monkeypatch.setattr(esp, "find_all", lambda _, found=found: (found, len(found)))
        asyncio.run(esp.give_back_clusters("/dev/vda3"))
    assert given == ["/dev/broken", "/dev/vda2"]
