"""Files and disks of servers: what is there when they answer, and what goes on when they do not."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orlop.lib.process import run
from orlop.vm.spec import Disk
from tests.vm import guest
from tests.vm.lab import SSH_PUBLISHED, Lab, host_ssh
from tests.vm.storage_servers import TARGET, free_port, hang, iscsi_target, nfs_server

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.vm.machine import Machine

HOST = "10.0.2.2"
WAIT_S = 240.0


def extras(lab: Lab) -> Disk:
    return Disk(lab.out / "orlop-extras.erofs", serial="extras", read_only=True)


def log_in(machine: Machine) -> None:
    subprocess.run(host_ssh(machine, ["true"]), check=True, timeout=240)


def on_console(command: str) -> list[str]:
    return guest.in_container("console", command)


def test_a_share_whose_server_comes_late_and_hangs(lab: Lab, tmp_path: Path) -> None:
    """Neither boot nor SSH nor the end waits for it, although the mount is a hard one; nor does a
    state that can only be read stop them."""
    share, port = tmp_path / "share", free_port()
    share.mkdir()
    (share / "hello").write_text("from the server\n")
    config: dict[str, object] = {
        "mounts": [[f"{HOST}:/share", "/mnt/nas", "nfs", f"hard,port={port}"]]
    }
    disks = (extras(lab), replace(lab.state_disk(64), read_only=True))
    with lab.machine(lab.kernel(), "share", config=config, key=True, disks=disks) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        log_in(machine)
        storage = guest.status(machine)["storage"]
        assert isinstance(storage, dict)
        assert storage["kind"] == "memory"
        assert any("read-only here" in text for text in guest.warnings(machine))
        with nfs_server(share, port, tmp_path) as server:
            machine.wait_until_succeeds(on_console("cat /mnt/nas/hello"), timeout_s=WAIT_S)
            assert " /var/mnt/nas nfs4 " in machine.succeed("cat /proc/1/mounts")
            machine.wait_until(
                lambda: not [text for text in guest.warnings(machine) if "mounts" in text],
                "what was wrong with the share is taken back",
                timeout_s=WAIT_S,
            )
            machine.succeed(on_console("echo from the machine > /mnt/nas/answer"))
            assert (share / "answer").read_text() == "from the machine\n"
            hang(server)
            write = "dd if=/dev/zero of=/mnt/nas/large bs=1M count=4 conv=fsync"
            machine.succeed(on_console(f"{write} >/dev/null 2>&1 &"))
            log_in(machine)
            guest.end(machine, "orlop", "poweroff")
            machine.wait_for_power_off(timeout_s=WAIT_S)


def state_with_catalogue(lab: Lab, scratch: Path, files: dict[str, str]) -> Disk:
    """A state disk with the catalogue's clients, and *files* below /var/lib/orlop."""
    top = scratch / "state.d/lib/orlop"
    for name in ("index.json", "nfs-client", "iscsi"):
        source = lab.out / "catalogue" / name
        assert source.exists(), "first: ./orlop catalogue build nfs-client iscsi"
        (top / "catalogue").mkdir(parents=True, exist_ok=True)
        run(["cp", "-r", source, top / "catalogue" / name])
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return lab.state_disk(512, content=scratch / "state.d")


@pytest.mark.long
def test_clients_of_the_catalogue(lab: Lab, tmp_path: Path) -> None:
    """A share, and a disk on which there is a file system; both servers hang at the end."""
    share, disk, ports = tmp_path / "share", tmp_path / "lun", (free_port(), free_port())
    share.mkdir()
    (share / "hello").write_text("from the server\n")
    with disk.open("wb") as image:
        image.truncate(64 << 20)
    files = {
        "nfs/mounts": f"{HOST}:/share nas vers=4.2,port={ports[0]}\n",
        "iscsi/targets": f"{HOST}:{ports[1]} {TARGET}\n",
    }
    modules = ["nfs", "nfsv4", "iscsi_tcp"]
    config: dict[str, object] = {"orlop": {"modules": modules}}
    disks = (extras(lab), state_with_catalogue(lab, tmp_path, files))
    with (
        nfs_server(share, ports[0], tmp_path) as nfs,
        iscsi_target(disk, ports[1], tmp_path) as iscsi,
        lab.machine(
            lab.kernel(), "clients", config=config, key=True, nics=(SSH_PUBLISHED,), disks=disks
        ) as machine,
    ):
        machine.boot()
        guest.wait_for_services(machine)
        for name in ("nfs-client", "iscsi"):
            add = f"orlop service add {name} --catalogue /var/lib/orlop/catalogue"
            machine.succeed(f"{add} && orlop service enable {name}", timeout_s=WAIT_S)
        machine.wait_until_succeeds(on_console("cat /mnt/nas/hello"), timeout_s=WAIT_S)
        machine.succeed(on_console("echo from the machine > /mnt/nas/answer"))
        assert (share / "answer").read_text() == "from the machine\n"
        machine.wait_until_succeeds("test -b /dev/sda", timeout_s=WAIT_S)
        machine.succeed("mke2fs -q -t ext4 -L remote /dev/sda", timeout_s=WAIT_S)
        machine.succeed("orlop config set mounts '[[LABEL=remote, /mnt/remote]]'")
        kept = on_console("echo kept > /mnt/remote/file && sync")
        machine.wait_until_succeeds(kept, timeout_s=WAIT_S)
        assert b"kept\n" in disk.read_bytes()
        hang(nfs)
        machine.succeed("orlop service stop nfs-client", timeout_s=WAIT_S)
        hang(iscsi)
        log_in(machine)
        guest.end(machine, "orlop", "poweroff")
        machine.wait_for_power_off(timeout_s=WAIT_S)
