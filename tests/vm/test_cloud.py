"""Data sources on the built machine: a CD, a disk, and a server on the network."""

import gzip
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from orlop.vm.machine import Machine
from orlop.vm.spec import Disk
from tests.vm import guest
from tests.vm.lab import Lab

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysrw6Kb0eIn0V0Q3e0XQ5l6yq9u3r0Yb5Zt"
NETWORK_CONFIG = """\
version: 2
ethernets:
  id0:
    match: {macaddress: "52:54:00:12:34:56"}
    addresses: [10.0.2.77/24]
    gateway4: 10.0.2.2
    nameservers: {addresses: [192.0.2.53]}
"""


def cloud(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.succeed("orlop cloud --json"))
    return found


def config(machine: Machine) -> dict[str, Any]:
    """The status is 1 when there are problems, which is for the caller to judge."""
    _, output = machine.execute("orlop config show --json 2>/dev/null")
    found: dict[str, Any] = json.loads(output)
    return found


def test_nocloud_on_a_cd(lab: Lab, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "meta-data").write_text(
        f"instance-id: one\nlocal-hostname: weak\npublic-keys: [{KEY} meta]\n"
    )
    (tree / "user-data").write_bytes(
        gzip.compress(f"#cloud-config\nhostname: ship\nssh_authorized_keys: [{KEY} user]".encode())
    )
    (tree / "network-config").write_text(NETWORK_CONFIG)
    iso = tmp_path / "seed.iso"
    words = ["xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-V", "cidata", "-o"]
    argv = [*words, str(iso), str(tree)]
    subprocess.run(argv, check=True, capture_output=True)
    drive = (
        *("-drive", f"if=none,id=seed,media=cdrom,readonly=on,format=raw,file={iso}"),
        *("-device", "ide-cd,bus=ide.2,drive=seed"),
    )
    with lab.machine(lab.kernel(), "nocloud", extra=drive) as machine:
        machine.boot()
        assert machine.succeed("hostname").strip() == "ship"
        machine.wait_until_succeeds("ip -4 addr show dev eth0 | grep -q 10.0.2.77/24")
        assert "10.0.2.15" not in machine.succeed("ip addr")
        machine.wait_until_succeeds("grep -q '^nameserver 192.0.2.53' /etc/resolv.conf")
        found = config(machine)
        assert found["config"]["ssh_authorized_keys"] == [f"{KEY} user", f"{KEY} meta"]
        assert found["origins"]["hostname"] == "user-data:2"
        assert found["problems"] == []
        found = cloud(machine)
        assert (found["source"], found["instance_id"]) == ("nocloud", "one")
        assert (found["from"], found["asked"]) == ("/dev/sr0", [])
        assert guest.services(machine)["cloud"] == "skipped"
        assert "sr0" not in machine.succeed("cat /proc/mounts")


def test_config_drive_on_a_disk(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "drive.img"
    with path.open("wb") as image:
        image.truncate(64 << 20)
    data = tmp_path / "meta_data.json"
    data.write_text(json.dumps({"uuid": "seven", "hostname": "drive", "public_keys": {"a": KEY}}))
    user_data = tmp_path / "user_data"
    user_data.write_text("#cloud-config\nhostnam: wrong\n")
    for argv in (
        ["mkfs.vfat", "-n", "config-2", path],
        ["mmd", "-i", path, "::openstack", "::openstack/latest"],
        ["mcopy", "-i", path, data, user_data, "::openstack/latest/"],
    ):
        subprocess.run([*map(str, argv)], check=True, capture_output=True)
    with lab.machine(lab.kernel(), "drive", disks=(Disk(path, read_only=True),)) as machine:
        machine.boot()
        assert machine.succeed("hostname").strip() == "drive"
        found = config(machine)
        assert found["config"]["ssh_authorized_keys"] == [KEY]
        assert found["problems"][0].startswith("user-data:2: ")
        assert cloud(machine)["source"] == "configdrive"
        guest.wait_for_services(machine)
        assert guest.services(machine)["ssh"] == "running"


@contextmanager
def web(directory: Path) -> Iterator[int]:
    """A web server for *directory* on this host's loopback; its port."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))
    threading.Thread(target=server.serve_forever).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def test_a_server_on_the_network_and_then_none(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "meta-data").write_text("instance-id: one\nlocal-hostname: weak\n")
    (tmp_path / "more.yml").write_text("hostname: ship\n")
    with web(tmp_path) as port:
        base = f"http://10.0.2.2:{port}/"
        (tmp_path / "script").write_text("#!/bin/bash -e\necho the script of $(hostname) has run\n")
        (tmp_path / "user-data").write_text(f"#include\n{base}script\n{base}more.yml\n")
        uuid = "02aab8a4-74ef-476e-8182-f6d2ba4166a6"
        serial = ("-smbios", f"type=1,uuid={uuid},serial=ds=nocloud;s={base}")
        with lab.machine(lab.kernel(), "web", disks=(lab.state_disk(),), extra=serial) as machine:
            machine.boot()
            machine.wait_until_succeeds("test $(hostname) = ship", timeout_s=120)
            found = cloud(machine)
            assert (found["source"], found["instance_id"]) == ("nocloud", "one")
            assert found["asked"] == ["nocloud-net"]
            assert guest.services(machine)["cloud"] == "done"
            assert config(machine)["problems"] == []
            has_run = "orlop logs runcmd | grep -c 'the script of ship has run'"
            assert machine.wait_until_succeeds(has_run, timeout_s=120).strip() == "1"
            machine.wait_until(
                lambda: guest.services(machine)["runcmd"] == "done", "runcmd has run", timeout_s=60
            )
            machine.stop()
            (tmp_path / "meta-data").unlink()
            (tmp_path / "user-data").unlink()
            machine.boot()
            assert machine.succeed("hostname").strip() == "ship"
            assert cloud(machine)["from"] == "an earlier boot"
            assert guest.services(machine)["runcmd"] == "skipped"
