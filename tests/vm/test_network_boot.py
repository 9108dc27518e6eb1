"""Started from the network card, with the system and what is installed fetched over HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from orlop.system.install import disks
from orlop.system.install.disks import Content
from orlop.vm.machine import Machine
from orlop.vm.spec import Disk, Firmware, Network
from tests.vm import guest
from tests.vm.lab import Lab

LIMIT_S = 900.0
IPXE = "ipxe.efi"
"""iPXE for UEFI, with drivers of its own."""


@dataclass(slots=True)
class Web:
    """Files of a directory by HTTP: where guests find them, and what has been asked for."""

    root: Path
    url: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def web(lab: Lab, tmp_path: Path) -> Iterator[Web]:
    """A server with the files of the build that a machine starts from over the network."""
    root = tmp_path / "www"
    root.mkdir()
    for name in ("vmlinuz", "initrd", "orlop.ipxe", "orlop.efi", "orlop.iso"):
        (root / name).symlink_to(lab.out / name)
    (root / IPXE).symlink_to(f"/usr/lib/ipxe/{IPXE}")
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, code: object = "-", size: object = "-") -> None:
            asked.append(self.path)

        def translate_path(self, path: str) -> str:
            # What dnsmasq does: the firmware is given iPXE, and iPXE the script.
            is_ipxe = self.headers.get("User-Agent", "").startswith("iPXE")
            chosen = "/ship.ipxe" if is_ipxe and path == f"/{IPXE}" else path
            return super().translate_path(chosen)

    handler = partial(Handler, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Web(root, f"http://10.0.2.2:{server.server_address[1]}", asked)
        server.shutdown()


def document(web: Web) -> dict[str, object]:
    """What makes a machine install itself on a disk on which there is something."""
    iso = (web.root / "orlop.iso").read_bytes()
    install = {
        "disk": ["SERIAL=none", "SERIAL=system"],
        "wipe": True,
        "config": {"hostname": "ship"},
        "append": "a.b=c",
        "then": "reboot",
        "image": f"{web.url}/orlop.iso",
        "image_sha256": hashlib.sha256(iso).hexdigest(),
    }
    return {"orlop": {"install": install}}


def check_installed(machine: Machine, firmware: Firmware) -> None:
    found = guest.status(machine)
    assert (found["firmware"], found["hostname"]) == (firmware.value, "ship")
    storage = found["storage"]
    assert isinstance(storage, dict)
    assert (storage["kind"], storage["label"]) == ("disk", "ORLOP_STATE")
    assert "a.b=c" in machine.succeed("cat /proc/cmdline").split()
    assert guest.warnings(machine) == []


def told(disk: Disk) -> str:
    """The configuration on an installed disk."""
    with disk.path.open("rb") as file:

        def read(offset: int, size: int) -> bytes:
            return os.pread(file.fileno(), size, offset)

        assert disks.look(str(disk.path))[0] is Content.INSTALLED
        places = disks.own_partitions(read, 512)
    assert places is not None
    at = f"{disk.path}?offset={places['orlop-state'][0]}"
    words = ["debugfs", "-R", "cat lib/orlop/config/versions/1/config.yml", at]
    shown = subprocess.run(words, check=True, capture_output=True, text=True)
    assert shown.stdout, shown.stderr
    return shown.stdout


def install_and_start(lab: Lab, web: Web, name: str, firmware: Firmware) -> None:
    """By iPXE, in 256 MB, without a person. *name* is what the firmware is told to start."""
    (web.root / "ship.yml").write_text(f"#cloud-config\n{yaml.safe_dump(document(web))}")
    (web.root / "ship.ipxe").write_text(
        f"#!ipxe\nset parameters orlop.install orlop.config.url={web.url}/ship.yml\n"
        "chain orlop.ipxe\n"
    )
    disk = lab.disk("system", 600, label="OLD")
    medium = Network(f"{web.url}/{name}", disk)
    with lab.machine(medium, "net", firmware=firmware, memory_mib=256) as machine:
        machine.start()
        machine.wait_for_event("ready", timeout_s=LIMIT_S)
        machine.wait_for_ready(timeout_s=LIMIT_S)
        check_installed(machine, firmware)
        # Once: the disk goes first when there is something on it.
        assert web.asked.count("/vmlinuz") == web.asked.count("/orlop.iso") == 1
        # Of a machine that is cut off, part of the state may be in the journal alone.
        guest.end(machine, "orlop", "poweroff")
        machine.wait_for_power_off()
    assert json.loads(told(disk)) == {"hostname": "ship"}


def test_installs_itself_and_starts_from_the_disk(lab: Lab, web: Web) -> None:
    install_and_start(lab, web, "ship.ipxe", Firmware.BIOS)


@pytest.mark.long
def test_uefi_starts_ipxe(lab: Lab, web: Web) -> None:
    install_and_start(lab, web, IPXE, Firmware.UEFI)


@pytest.mark.long
def test_uefi_starts_the_kernel_image_by_itself(lab: Lab, web: Web) -> None:
    """HTTP boot of one file, which is what Secure Boot can check; told what to do by the host."""
    medium = Network(f"{web.url}/orlop.efi", lab.disk("system", 600, label="OLD"))
    with lab.machine(medium, "http", firmware=Firmware.UEFI, config=document(web)) as machine:
        machine.start()
        machine.wait_for_event("ready", timeout_s=LIMIT_S)
        assert "/orlop.efi" in web.asked
        machine.wait_for_ready(timeout_s=LIMIT_S)
        check_installed(machine, Firmware.UEFI)
        assert web.asked.count("/orlop.iso") == 1
