"""An installed machine takes releases from a web server: signed ones, whole or not at all.

One machine goes from release to release: services without a reboot, good and bad; then an image
with services, through a server that breaks off, the window and the lock of a fleet, and its trial.
"""

from __future__ import annotations

import base64
import functools
import http.server
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from orlop.cli.host import release
from orlop.image.disk import DiskImage, make_disk
from orlop.lib import medium
from orlop.lib.disk_layout import plan_disk
from orlop.lib.process import run
from orlop.vm.spec import Firmware
from tests.engine.fleet_server import FleetServer
from tests.engine.oci_layout import oci_archive
from tests.engine.store.archives import busybox_layer
from tests.vm import guest
from tests.vm.next_image import make_next
from tests.vm.test_disk_image import SIZE_BYTES, Installation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orlop.vm.machine import Machine
    from tests.vm.lab import Lab

TIMEOUT_S = 600.0
BUILD, LATER = "feedfacefeedface", "deadbeefdeadbeef"
CONFIGURATION = """\
orlop:
  health: {{settle: 20s, deadline: 600s}}
  update:
    windows: [{{start: "00:00", length: 24h}}]
    lock: {{url: "http://10.0.2.2:{port}", group: default}}
"""
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
LARGE_BYTES = 4 << 20


class _Files(http.server.SimpleHTTPRequestHandler):
    """Static files with ranges. What is large breaks off in its middle while the web is `weak`,
    and nothing is there any more after that."""

    web: Web

    def do_GET(self) -> None:
        if self.web.is_down:
            self.send_error(404)
            return
        span = self.headers.get("Range", "")
        try:
            with open(self.translate_path(self.path), "rb") as stream:
                data = stream.read()
        except OSError:
            self.send_error(404)
            return
        start = int(span.removeprefix("bytes=").rstrip("-")) if span else 0
        self.send_response(206 if span else 200)
        if span:
            self.web.resumed.append(start)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if self.web.is_weak and len(data) > LARGE_BYTES:
            self.web.is_down = True
            data = data[: len(data) // 2]
        self.wfile.write(data[start:])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is there
        pass


@dataclass
class Web:
    """*folder* on a web server; *address* is the guest's for it."""

    folder: Path
    address: str = ""
    is_weak: bool = False
    is_down: bool = False
    resumed: list[int] = field(default_factory=list)

    @contextmanager
    def served(self) -> Iterator[Web]:
        handler = functools.partial(
            type("Handler", (_Files,), {"web": self}), directory=str(self.folder)
        )
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            self.address = f"http://10.0.2.2:{server.server_address[1]}"
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


@dataclass
class Place:
    """The machine, and what it takes its releases from."""

    machine: Machine
    scratch: Path
    web: Web
    fleet: FleetServer
    installed: Path

    def publish(self, version: str, image: Path, *words: str, **services: str) -> None:
        """A release of *image* and *services*, each a shell command that it begins with."""
        archive = self.scratch / "service.tar"
        archive.write_bytes(oci_archive([busybox_layer()]).data)
        options = ["--image", str(image), "--no-extras", "--version", version, *words]
        for name, command in services.items():
            path = self.scratch / f"{name}.yml"
            path.write_text(json.dumps({"services": {name: definition(name, command)}}))
            options += ["--service", f"{name}={archive}", "--definition", f"{name}={path}"]
        release.main([*self.places(), *options])

    def places(self) -> list[str]:
        keys, out = str(self.scratch / "keys"), str(self.web.folder)
        return ["--key", keys, "--out", out, "--channel", "stable"]

    def orlop_os(self, words: str) -> Any:
        return json.loads(self.machine.succeed(f"orlop os {words} --json", timeout_s=TIMEOUT_S))

    def stage(self) -> Any:
        return self.orlop_os(f"stage {self.web.address}")

    def holders(self) -> dict[str, Any]:
        found: dict[str, Any] = self.fleet.person("GET", "/v1/groups/default")["holders"]
        return found

    def lines(self) -> list[str]:
        """What the service `probe` has written down, in this boot and before."""
        return self.machine.execute(["orlop", "exec", "probe", "cat", "/data/log"])[1].split()


def definition(name: str, command: str) -> dict[str, Any]:
    script = f"{command}; trap 'exit 0' TERM; while :; do sleep 1; done"
    return {
        "image": name,
        "command": ["/bin/sh", "-c", script],
        "restart": "always",
        "volumes": [f"{name}:/data"],
    }


@pytest.fixture(scope="module")
def place(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    scratch = tmp_path_factory.mktemp("releases")
    keys, folder, path = scratch / "keys", scratch / "repository", scratch / "disk.raw"
    release.main(["new-keys", str(keys)])
    (scratch / "fleet").mkdir()
    with FleetServer(scratch / "fleet") as fleet, Web(folder).served() as web:
        text = CONFIGURATION.format(port=fleet.port)
        wanted = DiskImage(lab.out / "orlop.iso", SIZE_BYTES, configuration=text.encode())
        make_disk(
            wanted, path, scratch, lambda words, env: run(words, env=env), epoch=1_700_000_000
        )
        source = medium.read_source(str(wanted.iso))
        disk = Installation(path, scratch, plan_disk(SIZE_BYTES), source)
        with disk.machine(lab, Firmware.BIOS) as machine:
            machine.boot(TIMEOUT_S)
            found = Place(machine, scratch, web, fleet, lab.out / "orlop.efi")
            found.publish("2.0", found.installed, probe="echo two >> /data/log")
            assert "trusts nobody" in machine.fail(f"orlop os check {web.address} 2>&1")
            root = base64.b64encode((keys / "root.json").read_bytes()).decode()
            machine.succeed(f"echo {root} | base64 -d | orlop os trust -")
            yield found


def take_services(place: Place) -> None:
    """Have release 2.0, if it is not there yet."""
    status = place.orlop_os("status")
    if not status["services"]:
        if not status["staged"]:
            place.stage()
        assert place.orlop_os("apply")["reboot"] is False
        place.machine.wait_until(lambda: place.lines() == ["two"], "the service to have written")


def test_what_is_not_signed_is_not_taken(place: Place) -> None:
    address = place.web.address
    found = place.orlop_os(f"check {address}")
    assert found["version"] == "2.0"
    timestamp = place.web.folder / "metadata/timestamp.json"
    good = timestamp.read_bytes()
    timestamp.write_bytes(good.replace(b'"version": 1', b'"version": 2'))
    assert place.machine.execute(f"orlop os stage {address}")[0] == 75
    timestamp.write_bytes(good)
    staged = place.stage()
    assert (staged["version"], staged["received_bytes"]) == ("2.0", found["download_bytes"])
    assert place.machine.execute(f"orlop os stage {address}")[0] == 77
    assert place.orlop_os("status")["staged"] == staged["generation"]
    assert all(row["ok"] for row in place.orlop_os("verify"))


def test_services_are_replaced_without_a_reboot_or_put_back_as_a_set(place: Place) -> None:
    machine = place.machine
    boot = machine.succeed(BOOT_ID)
    take_services(place)
    good = place.orlop_os("status")["good"]
    assert guest.services(machine)["probe"] == guest.RUNNING
    image = place.installed
    place.publish("3.0", image, second="exit 3", probe="echo three >> /data/log")
    place.stage()
    before = len(place.lines())
    text = machine.fail("orlop os apply", timeout_s=TIMEOUT_S)
    assert "second" in text
    assert "second" not in guest.services(machine)
    machine.wait_until(lambda: len(place.lines()) > before + 1, "the old one to write")
    assert place.lines()[-2:] == ["three", "two"]
    status = place.orlop_os("status")
    assert (status["good"], status["staged"], [*status["services"]]) == (good, None, ["probe"])
    [last, *_] = place.orlop_os("history")
    assert (last["verb"], last["status"]) == ("apply", "Undone")
    assert machine.succeed(BOOT_ID) == boot
    assert place.holders() == {}, "nothing rebooted: no lock"


def test_an_image_and_services_through_window_lock_and_trial(lab: Lab, place: Place) -> None:
    machine, web = place.machine, place.web
    take_services(place)
    old = place.lines()
    image = make_next(lab.out / "orlop.efi", BUILD, place.scratch / "next")
    checks = place.scratch / "health.json"
    check = {"name": "data", "exec": ["/bin/grep", "-q", "four", "/data/log"], "in": "probe"}
    checks.write_text(json.dumps({"required": [check]}))
    words = ("--no-delta", "--health", str(checks), "--epoch", "probe=1")
    place.publish("4.0", image, *words, probe="echo four >> /data/log")
    web.is_weak = True
    assert machine.execute(f"orlop os stage {web.address}", timeout_s=TIMEOUT_S)[0] == 1
    web.is_weak = web.is_down = False
    assert place.stage()["version"] == "4.0"
    assert max(web.resumed) >= image.stat().st_size // 2
    number = place.orlop_os("status")["staged"]
    machine.succeed("orlop os apply", timeout_s=TIMEOUT_S)
    assert len(place.holders()) == 1
    machine.wait_for_ready(TIMEOUT_S)
    assert guest.status(machine)["build_id"] == BUILD
    machine.wait_for_event("promoted", timeout_s=TIMEOUT_S)
    machine.wait_until(lambda: place.holders() == {}, "the lock to be back", timeout_s=TIMEOUT_S)
    assert place.orlop_os("status")["good"] == number
    assert place.lines() == [*old, "four"]


@pytest.mark.long
def test_back_with_the_data_as_it_was_and_on_by_a_delta(lab: Lab, place: Place) -> None:
    """After the test before this one: what it came to is the start of this one."""
    machine = place.machine
    if guest.status(machine)["build_id"] != BUILD:
        test_an_image_and_services_through_window_lock_and_trial(lab, place)
    image = make_next(lab.out / "orlop.efi", LATER, place.scratch / "next")
    place.publish("5.0", image, "--delta-from", "4.0")
    # A release counts from when it was published, and the machine's clock may be behind that.
    machine.wait_until_succeeds(f"orlop os check {place.web.address}")
    staged = place.stage()
    assert staged["received_bytes"] < image.stat().st_size // 2
    *old, newest = place.lines()
    assert newest == "four"
    machine.succeed("orlop os rollback")
    machine.wait_for_ready(TIMEOUT_S)
    assert guest.status(machine)["build_id"] != BUILD
    machine.wait_until(lambda: place.lines() == [*old, "two"], "the data as it was")
    assert [*place.orlop_os("status")["services"]] == ["probe"]
