"""What is kept on the state partition: over reboots, power cuts, full disks, broken definitions."""

import subprocess
from collections.abc import Iterator

import pytest

from orlop.vm.machine import Machine
from orlop.vm.spec import Disk
from tests.vm import guest
from tests.vm.lab import SSH_PUBLISHED, Lab, host_ssh

GOOD = """\
services:
  extra:
    image: console
    command: [/bin/sleep, "100000"]
    restart: always
"""
BROKEN = """\
services:
  broken:
    image: console
    comand: [/bin/true]
"""


@pytest.fixture(scope="module")
def disk(lab: Lab) -> Disk:
    return lab.state_disk(128)


@pytest.fixture(scope="module")
def keeper(lab: Lab, disk: Disk) -> Iterator[Machine]:
    with lab.machine(
        lab.kernel(), "state", disks=(disk,), key=True, nics=(SSH_PUBLISHED,)
    ) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        yield machine


def storage(machine: Machine) -> dict[str, object]:
    value = guest.status(machine)["storage"]
    assert isinstance(value, dict)
    return value


def reboot(machine: Machine) -> None:
    guest.end(machine, "orlop", "reboot")
    machine.wait_for_ready()
    guest.wait_for_services(machine)


def host_key(machine: Machine) -> str:
    port = str(machine.ssh_port())
    scanned = subprocess.run(
        ["ssh-keyscan", "-T", "30", "-p", port, "-t", "ed25519", "127.0.0.1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return scanned.stdout.split()[-1]


def test_partition_is_used(keeper: Machine) -> None:
    found = storage(keeper)
    assert found["kind"] == "disk"
    assert found["label"] == "ORLOP_STATE"
    assert found["read_only"] is False


def test_data_and_host_key_stay_over_a_reboot(keeper: Machine) -> None:
    keeper.succeed("echo precious > /root/kept")
    key = host_key(keeper)
    reboot(keeper)
    assert keeper.succeed("cat /root/kept") == "precious\n"
    assert host_key(keeper) == key


def test_synced_data_stays_over_a_power_cut(keeper: Machine) -> None:
    keeper.succeed("dd if=/dev/urandom of=/root/big bs=64k count=64 conv=fsync 2>/dev/null")
    digest = keeper.succeed("sha256sum /root/big")
    # Writing goes on while the plug is pulled.
    keeper.succeed(
        "(while :; do date >> /root/noise; sync; done) </dev/null >/dev/null 2>&1 & sleep 1"
    )
    keeper.power_cut()
    keeper.boot()
    guest.wait_for_services(keeper)
    assert keeper.succeed("sha256sum /root/big") == digest
    assert guest.warnings(keeper) == []


def test_broken_definition_does_not_stop_the_boot(keeper: Machine) -> None:
    folder = "/var/lib/orlop/services"
    keeper.run(["sh", "-c", f"cat > {folder}/extra.yml"], stdin=GOOD.encode())
    keeper.run(["sh", "-c", f"cat > {folder}/broken.yml"], stdin=BROKEN.encode())
    keeper.run(["sh", "-c", f"cat > {folder}/rubbish.json"], stdin=b"\0\xff{{{")
    keeper.succeed("sync")
    reboot(keeper)
    assert guest.services(keeper)["extra"] == guest.RUNNING
    complaints = guest.warnings(keeper)
    assert any("broken.yml" in text and "comand" in text for text in complaints), complaints
    assert any("rubbish.json" in text for text in complaints), complaints
    keeper.succeed(f"rm {folder}/*; sync")


def test_configuration_on_the_disk_counts(keeper: Machine) -> None:
    keeper.run(
        ["sh", "-c", "cat > /var/lib/orlop/conf.d/50-test.yml"],
        stdin=b"orlop: {services: {time: {enabled: false}}}\n",
    )
    keeper.run(["sh", "-c", "cat > /var/lib/orlop/conf.d/60-bad.yml"], stdin=b"hostnam: typo\n")
    keeper.succeed("sync")
    guest.end(keeper, "orlop", "reboot")
    keeper.wait_for_ready()
    assert guest.services(keeper)["time"] == "disabled"
    assert any("hostnam" in text for text in guest.warnings(keeper))
    keeper.succeed("rm /var/lib/orlop/conf.d/*; sync")
    reboot(keeper)


def test_full_disk_stops_nothing(keeper: Machine) -> None:
    keeper.execute("dd if=/dev/zero of=/root/fill bs=1M 2>/dev/null; sync", timeout_s=180)
    keeper.execute("dd if=/dev/zero of=/root/fill2 bs=1k 2>/dev/null; sync", timeout_s=120)
    assert keeper.succeed("df /root | tail -1").split()[4] in ("100%", "99%")
    before = guest.pids(keeper)
    keeper.succeed("for i in $(seq 200); do logger -t flood line $i; done", timeout_s=120)
    assert guest.pids(keeper) == before
    # A service that dies comes back all the same, and so does the whole machine.
    keeper.succeed(f"kill -9 {before['time']}")
    guest.wait_for_services(keeper, changed_from={"time": before["time"]})
    reboot(keeper)
    keeper.succeed("rm /root/fill /root/fill2")
    keeper.succeed("logger -t orlop-test 'room again'")
    keeper.wait_until_succeeds("grep -q 'room again' /var/log/orlop/messages", timeout_s=60)


def test_key_still_logs_in(keeper: Machine) -> None:
    subprocess.run(host_ssh(keeper, ["true"]), check=True, timeout=60)


def test_file_system_is_clean_after_power_off(keeper: Machine, disk: Disk) -> None:
    guest.end(keeper, "orlop", "poweroff")
    keeper.wait_for_power_off()
    subprocess.run(["e2fsck", "-f", "-n", disk.path], check=True, capture_output=True)
    shown = subprocess.run(
        ["dumpe2fs", "-h", disk.path], check=True, capture_output=True, text=True
    )
    # A journal to be replayed would mean that it was not unmounted.
    assert "needs_recovery" not in shown.stdout
