"""Releases that change services only: nothing reboots, and what is bad is as it was before."""

from __future__ import annotations

import functools
import os
import shutil
import threading
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import pytest

from orlop.cli.host import release_carry
from tests.engine.installed_machine import InstalledMachine, ServiceLab
from tests.engine.oci_layout import oci_archive
from tests.engine.store.archives import busybox_layer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

WAIT = "trap 'exit 0' TERM; while :; do sleep 1; done"
SERVICES: dict[str, dict[str, Any]] = {
    "base": {
        "command": ["/bin/sh", "-c", f"echo old >> /data/log; {WAIT}"],
        "restart": "always",
        "volumes": ["data:/data"],
    },
    "other": {"command": ["/bin/sh", "-c", WAIT], "restart": "always"},
}
QUICK = "orlop: {health: {settle: 1s, deadline: 60s}}\n"
SLOW = "orlop: {health: {settle: 900s, deadline: 1000s}}\n"
NEW = f"""\
services:
  base:
    image: base
    command: ["/bin/sh", "-c", "echo new >> /data/log; {WAIT}"]
    restart: always
    volumes: ["data:/data"]
"""
DATA = "/var/lib/orlop/engine/volumes/data/_data/log"


@functools.cache
def archive() -> tuple[bytes, str]:
    found = oci_archive([busybox_layer()])
    return found.data, found.manifest


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk/lab").mkdir(parents=True)
    return tmp_path / "disk"


@pytest.fixture
def lab(disk: Path) -> ServiceLab:
    return ServiceLab(disk / "lab")


def service(machine: InstalledMachine, name: str = "base") -> dict[str, Any]:
    found: dict[str, Any] = machine.request("GET", f"/orlop/services/{name}")[1]
    return found


def data(machine: InstalledMachine) -> list[str]:
    """What the service wrote: nothing while it has not begun."""
    try:
        return machine.path(DATA).read_text().split()
    except FileNotFoundError:
        return []


def runs(name: str, but: int = 0) -> Callable[[dict[str, Any]], bool]:
    def look(status: dict[str, Any]) -> bool:
        return any(
            (s["name"], s["state"]) == (name, "running") and s["pid"] not in (0, but)
            for s in status["services"]
        )

    return look


def wait_for_data(machine: InstalledMachine, lines: list[str]) -> None:
    until_s = time.monotonic() + 60
    while data(machine) != lines:
        assert time.monotonic() < until_s, (data(machine), machine.log())
        time.sleep(0.05)


def test_a_service_is_replaced_and_brought_back(disk: Path, lab: ServiceLab) -> None:
    lab.services(2, base=lab.service(*archive(), NEW, epoch=1))
    with InstalledMachine(SERVICES, disk, QUICK) as machine:
        machine.wait_for(runs("base"))
        before, other = service(machine), service(machine, "other")
        wait_for_data(machine, ["old"])
        staged = machine.stage(lab)
        assert "result" in staged, staged
        applied = machine.do("apply")
        assert applied["result"]["reboot"] is False, applied
        assert applied["result"]["services"] == ["base"]
        now = service(machine)
        assert now["state"] == "running"
        assert now["image_id"] != before["image_id"]
        assert service(machine, "other")["pid"] == other["pid"]
        wait_for_data(machine, ["old", "new"])
        assert machine.ask("status")["services"]["base"]["digest"] == archive()[1]
        assert machine.wait_ready()["reexecutions"] == 0
        assert machine.request("POST", "/orlop/reexec")[0] == 204
        machine.wait_for(lambda found: found["reexecutions"] == 1 and found["phase"] == "ready")
        assert service(machine)["pid"] == now["pid"]
    with InstalledMachine(SERVICES, disk) as machine:
        machine.wait_for(runs("base"))
        assert service(machine)["image_id"] == now["image_id"]
        wait_for_data(machine, ["old", "new", "new"])
        back = machine.do("rollback")
        assert back["result"] == {"generation": 1, "reboot": False, "services": ["base"]}, back
        assert service(machine)["image_id"] == before["image_id"]
        wait_for_data(machine, ["old", "old"])
        assert machine.ask("status")["services"] == {}
        again = machine.do("rollback")  # and forth, with the data as it is
        assert "result" in again, again
        wait_for_data(machine, ["old", "old", "new"])


def test_a_bad_one_is_undone_with_all_others(disk: Path, lab: ServiceLab) -> None:
    crash = NEW.replace(WAIT, "exit 3")
    good = NEW.replace("  base:", "  other:").replace('    volumes: ["data:/data"]\n', "")
    lab.services(
        2,
        other=lab.service(*archive(), good.replace("echo new >> /data/log; ", "")),
        base=lab.service(*archive(), crash, epoch=7),
    )
    with InstalledMachine(SERVICES, disk, QUICK) as machine:
        machine.wait_for(runs("base"))
        before = {name: service(machine, name)["image_id"] for name in SERVICES}
        wait_for_data(machine, ["old"])
        assert "result" in machine.stage(lab)
        answer = machine.do("apply")
        assert answer["error"]["kind"] == "Conflict", answer
        assert "service base" in answer["error"]["message"]
        machine.wait_for(runs("base"))
        assert {name: service(machine, name)["image_id"] for name in SERVICES} == before
        wait_for_data(machine, ["old", "old"])
        last = machine.ask("history")[0]
        assert (last["verb"], last["status"]) == ("apply", "Undone"), last
        assert machine.ask("status")["staged"] is None
        assert machine.do("apply")["error"]["kind"] == "NotModified"
        # What is newer is tried.
        lab.services(3, base=lab.service(*archive(), NEW, handover=True))
        assert "result" in machine.stage(lab)
        assert "result" in machine.do("apply")
        wait_for_data(machine, ["old", "old", "new"])
        assert machine.request("GET", "/containers/base.before/json")[0] == 404


def test_a_release_has_checks_of_its_own(disk: Path, lab: ServiceLab) -> None:
    """What works as far as the machine knows is taken back if its release says it does not."""
    check = {"name": "data", "exec": ["/bin/sh", "-c", "exit 4"], "in": "base"}
    lab.services(2, {"required": [check]}, base=lab.service(*archive(), NEW))
    with InstalledMachine(SERVICES, disk, QUICK) as machine:
        machine.wait_for(runs("base"))
        before = service(machine)["image_id"]
        assert "result" in machine.stage(lab)
        answer = machine.do("apply")
        assert "release: data: ended with status 4" in answer["error"]["message"], answer
        machine.wait_for(runs("base"))
        assert service(machine)["image_id"] == before
        lab.services(
            3,
            {"required": [check | {"exec": ["/bin/grep", "-q", "new", "/data/log"]}]},
            base=lab.service(*archive(), NEW),
        )
        assert "result" in machine.stage(lab)
        assert "result" in machine.do("apply")
        assert machine.ask("status")["good"] == 3


def test_a_release_as_one_file(disk: Path, lab: ServiceLab, tmp_path: Path) -> None:
    """For a machine without a network, and with no repository in sight."""
    lab.services(2, base=lab.service(*archive(), NEW))
    path = tmp_path / "release.tar"
    release_carry.write_archive(lab.repository, path, "2.0")
    shutil.rmtree(disk / "lab/repo")
    with InstalledMachine(SERVICES, disk, QUICK) as machine:
        machine.wait_for(runs("base"))
        before = service(machine)["image_id"]
        machine.do("trust", {"root": lab.root.decode()})
        answer = machine.do("stage?archive=1", path.read_bytes())
        assert answer["result"]["generation"] == 2
        assert "result" in machine.do("apply")
        assert service(machine)["image_id"] != before
        assert os.listdir(machine.path("/var/lib/orlop/os/incoming")) == ["etc"]  # the worker's


@pytest.mark.parametrize("how", ["reexecution", "power cut"])
def test_an_interrupted_one_ends_whole(how: str, disk: Path, lab: ServiceLab) -> None:
    lab.services(2, base=lab.service(*archive(), NEW, epoch=1))
    with InstalledMachine(SERVICES, disk, SLOW) as machine:
        machine.wait_for(runs("base"))
        before = service(machine)
        wait_for_data(machine, ["old"])
        assert "result" in machine.stage(lab)
        threading.Thread(target=_apply, args=(machine,), daemon=True).start()
        wait_for_data(machine, ["old", "new"])
        machine.wait_for(runs("base", before["pid"]))
        if how == "reexecution":
            assert machine.request("POST", "/orlop/reexec")[0] == 204
            machine.wait_for(lambda found: found["reexecutions"] == 1)
            check_undone(machine, before)
    if how == "power cut":
        with InstalledMachine(SERVICES, disk) as machine:
            check_undone(machine, before)


def _apply(machine: InstalledMachine) -> None:
    try:
        machine.do("apply")
    except (OSError, ValueError, IndexError, HTTPException):
        pass  # the machine has gone


def check_undone(machine: InstalledMachine, before: dict[str, Any]) -> None:
    machine.wait_ready()
    machine.wait_for(runs("base"))
    wait_for_data(machine, ["old", "old"])
    assert service(machine)["image_id"] == before["image_id"]
    last = machine.ask("history")[0]
    assert (last["verb"], last["status"], last["error"]) == ("apply", "Undone", "interrupted")
    assert machine.ask("status")["staged"] == 2
