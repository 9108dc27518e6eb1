"""Which boot partitions are mounted, and when; room that belongs to no file is given back."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from orlop.lib import boot_record, fat_orphans, mount
from orlop.lib.boot_record import BootRecord
from orlop.lib.errors import Unavailable
from orlop.system.updates import esp, esp_mirror, staging
from orlop.system.updates.esp_mirror import Standing


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


RECORD = BootRecord(5, "a" * 16, trial="b" * 16)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is done to two boot partitions; /dev/broken cannot be mounted."""
    found: list[str] = []
    names = {esp.TARGET: "first", esp.OTHER: "other"}

    def mount_(device: str, target: Path, _kind: str, flags: mount.MountFlag, _: str) -> None:
        if device == "/dev/broken":
            raise OSError(5, "Input/output error")
        how = "read" if flags & mount.MountFlag.RDONLY else "write"
        found.append(f"{names[target]} {device} {how}")

    monkeypatch.setattr(mount, "mount", mount_)
    monkeypatch.setattr(mount, "detach", lambda target: found.append(f"{names[target]} away"))
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    monkeypatch.setattr(esp_mirror, "equalise", lambda *_: found.append("equal"))
    monkeypatch.setattr(
        boot_record, "write_tried", lambda _, number: found.append(f"tried {number}")
    )
    return found


def mounted(
    monkeypatch: pytest.MonkeyPatch, *standings: Standing, write: bool, state: str = "/dev/md127"
) -> None:
    by_name = {one.device: one for one in standings}
    monkeypatch.setattr(esp, "find_all", lambda _: ([*by_name], len(by_name)))
    monkeypatch.setattr(esp, "_every", lambda: [*by_name])
    monkeypatch.setattr(esp_mirror, "look", by_name.__getitem__)

    async def work() -> None:
        async with esp.mounted(state, write=write):
            pass

    asyncio.run(work())


def test_the_other_is_made_like_it_after_a_change(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Standing("/dev/a2", RECORD), Standing("/dev/b2", RECORD)
    mounted(monkeypatch, *pair, write=False)
    assert done == ["first away", "first /dev/a2 read", "first away"]
    done.clear()
    mounted(monkeypatch, *pair, write=True)
    first = ["first away", "first /dev/a2 write"]
    other = ["other away", "other /dev/b2 write", "equal", "other away"]
    assert done == [*first, *other, "first away"]


def test_what_the_boot_loader_has_noted_on_the_other_comes_first(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Standing("/dev/a2", RECORD), Standing("/dev/b2", RECORD, tried=5)
    mounted(monkeypatch, *pair, write=False)
    first = ["first away", "first /dev/a2 write", "tried 5", "first away"]
    assert done == [*first, "first away", "first /dev/a2 read", "first away"]
    done.clear()
    mounted(monkeypatch, *pair, write=False, state="")
    assert done[1] == "first /dev/b2 read", "who has no state asks where the trial was begun"


def test_one_that_takes_no_mark_is_not_first(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = Standing("/dev/b2", RECORD, tried=5)
    mounted(monkeypatch, Standing("/dev/broken", RECORD), noted, write=False)
    assert done[-2] == "first /dev/b2 read"
    done.clear()

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(boot_record, "write_tried", refuse)
    mounted(monkeypatch, Standing("/dev/a2", RECORD), noted, write=False)
    assert done[-2] == "first /dev/b2 read"


def test_one_that_cannot_be_mounted_is_none(
    done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Standing("/dev/broken", RECORD)
    mounted(monkeypatch, broken, Standing("/dev/b2"), write=True)
    assert "first /dev/b2 write" in done
    assert "equal" not in done
    assert done[-1] == "first away"
    with pytest.raises(Unavailable, match="cannot mount /dev/broken: Input/output error"):
        mounted(monkeypatch, broken, write=True)


def test_a_digest_is_not_that_of_what_memory_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "image"
    path.write_bytes(b"image")
    done: list[object] = []
    real = os.read

    def read(descriptor: int, size: int) -> bytes:
        done.append("read")
        return real(descriptor, size)

    monkeypatch.setattr(os, "posix_fadvise", lambda *words: done.append(words[1:]))
    monkeypatch.setattr(os, "read", read)
    assert staging.digest_of(path) == hashlib.sha256(b"image").hexdigest()
    assert done[:2] == [(0, 0, os.POSIX_FADV_DONTNEED), "read"]
