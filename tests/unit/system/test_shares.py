"""NFS in `mounts`: what the kernel is asked for, when, and how often."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from orlop.lib.errors import Internal, OrlopError
from orlop.system.network import online
from orlop.system.storage import actions as storage_actions
from orlop.system.storage import extras, mounts, shares

if TYPE_CHECKING:
    from orlop.lib.children import Children
    from orlop.system.boot import Boot
    from orlop.system.config.configuration import Configuration

CHILDREN = cast("Children", None)


def options(found: list[dict[str, str]]) -> list[str]:
    return [request["o"] for request in found]


def test_versions_from_the_newest() -> None:
    found = shares.attempts("nas.example:/data", "nfs", "ro,soft,_netdev,retry=2")
    assert {(r["type"], r["device"]) for r in found} == {("nfs", "nas.example:/data")}
    common = "ro,soft,nosuid,nodev,addr=nas.example,vers="
    assert options(found) == [common + v for v in ("4.2", "4.1", "4.0", "3,nolock")]
    assert len(shares.attempts("nas:/data", "nfs4", "defaults")) == 3


def test_a_version_that_is_named_is_the_only_one() -> None:
    found = shares.attempts("[fd00::1]:/a", "nfs", "vers=3")
    assert options(found) == ["vers=3,nosuid,nodev,addr=fd00::1,nolock"]
    assert options(shares.attempts("n:/a", "nfs", "nfsvers=3,lock")) == [
        "nfsvers=3,lock,nosuid,nodev,addr=n"
    ]


class Kernel:
    """Says *answers*, one after the other; what it was asked is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

        async def load(children: Children, names: object) -> None: ...

        monkeypatch.setattr(extras, "load_modules", load)
        monkeypatch.setattr(shares, "mount_volume", self._mount)

    async def _mount(self, children: Children, request: Mapping[str, str], target: Path) -> None:
        self.asked.append(request["o"].rpartition("vers=")[2])
        if answer := self._answers.pop(0):
            raise Internal(f"error while mounting volume '{target}': mount x, type: nfs: {answer}")


def mount(tmp_path: Path) -> None:
    target = str(tmp_path / "nas")
    asyncio.run(shares.mount_share("nas:/data", target, "nfs", "defaults", CHILDREN))


def test_the_next_version_if_the_server_lacks_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = Kernel(monkeypatch, "Protocol not supported", "Protocol not supported", "")
    mount(tmp_path)
    assert kernel.asked == ["4.2", "4.1", "4.0"]


def test_a_refusal_is_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, "Permission denied")
    with pytest.raises(OrlopError, match=r"^Permission denied$"):
        mount(tmp_path)
    assert kernel.asked == ["4.2"]


def test_shares_are_left_for_when_there_is_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "share", lambda _: None)
    monkeypatch.setattr(mounts, "DIRECTORY", str(tmp_path))
    kernel = Kernel(monkeypatch, "no route to it", "")
    made, requests = str(tmp_path / "made"), mounts.plan([["nas:/d", "/mnt/nas", "nfs", "ro"]])

    def apply(*, network: bool) -> dict[str, str]:
        work = mounts.apply(requests, CHILDREN, wait_s=0, network=network, made=made)
        return asyncio.run(work)

    assert apply(network=False) == {}
    assert kernel.asked == []
    assert apply(network=True) == {"/mnt/nas": "no route to it"}
    assert apply(network=True) == {}
    assert apply(network=True) == {}
    assert len(kernel.asked) == 2


def test_a_warning_is_taken_back_when_the_share_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of others stay, and nothing is said twice."""
    rounds = iter([{"/mnt/a": "gone", "/mnt/b": "gone"}, {"/mnt/b": "still gone"}, {}])
    machine = SimpleNamespace(warnings=["c.yml:1: configuration: mounts: /mnt/ab: no disk"])
    seen: list[list[str]] = []

    def warn(_new: object, key: str, problems: Mapping[str, str]) -> None:
        found = (f"c.yml:1: configuration: {key}: {name}: {w}" for name, w in problems.items())
        machine.warnings += found

    async def apply(*_: object, **__: object) -> dict[str, str]:
        seen.append([text.partition("mounts: ")[2] for text in machine.warnings])
        return next(rounds)

    async def at_once(*_: object) -> None: ...

    monkeypatch.setattr(mounts, "apply", apply)
    monkeypatch.setattr(online, "wait", at_once)
    monkeypatch.setattr(online, "limit_s", lambda _: 0.0)
    monkeypatch.setattr(storage_actions, "SHARE_PAUSE_S", 0.0)
    boot = cast("Boot", SimpleNamespace(machine=machine, children=CHILDREN))
    actions = storage_actions.StorageActions(boot, warn)
    new = cast("Configuration", object())
    actions._mounted_for = new
    requests = mounts.plan([["nas:/d", f"/mnt/{name}", "nfs", "ro"] for name in "ab"])
    asyncio.run(actions._mount_shares(new, requests))
    other = "/mnt/ab: no disk"
    assert seen == [[other], [other, "/mnt/a: gone", "/mnt/b: gone"], [other, "/mnt/b: gone"]]
    assert machine.warnings == ["c.yml:1: configuration: mounts: /mnt/ab: no disk"]
