"""Each system service does its job, on the machine that the tests share."""

import datetime
import re
import subprocess
import time

import pytest

from orlop.lib.process import environment
from orlop.vm.machine import Machine
from orlop.vm.spec import DiskBus
from tests.vm.lab import Lab, host_ssh
from tests.vm.ntp_server import NtpServer
from tests.vm.syslog_listener import SyslogListener

CLOCK_TOLERANCE_S = 30
"""An emulated guest on a busy host answers late; the clock it started with is years off."""

RFC_5424 = re.compile(
    r"<(?P<priority>\d{1,3})>1 (?P<time>\d{4}-\d\d-\d\dT\S+) (?P<host>\S+) (?P<tag>\S+) \S+ \S+ .*"
)
MESSAGES = "/var/log/orlop/messages"


def guest_time_s(machine: Machine) -> float:
    return float(machine.succeed("date +%s"))


def test_time_is_set_from_a_server(machine: Machine, ntp_server: NtpServer) -> None:
    def is_right() -> bool:
        return abs(guest_time_s(machine) - time.time()) < CLOCK_TOLERANCE_S

    machine.wait_until(is_right, "the clock is right", timeout_s=120)
    assert ntp_server.requests > 0


def test_hardware_clock_is_set(machine: Machine) -> None:
    def is_right() -> bool:
        rtc_s = float(machine.succeed("cat /sys/class/rtc/rtc0/since_epoch"))
        return abs(rtc_s - time.time()) < CLOCK_TOLERANCE_S

    # The kernel copies the time when it has been right for a while.
    machine.wait_until(is_right, "the hardware clock is right", timeout_s=180)


def test_log_line_arrives_in_the_file(machine: Machine) -> None:
    machine.succeed("logger -t orlop-test 'a line for the file'")
    machine.wait_until_succeeds(f"grep -q 'a line for the file' {MESSAGES}", timeout_s=30)


def test_kernel_messages_are_kept(machine: Machine) -> None:
    machine.wait_until_succeeds(f"grep -q 'Linux version' {MESSAGES}", timeout_s=30)


def test_log_line_arrives_at_a_remote_host(
    machine: Machine, syslog_listener: SyslogListener
) -> None:
    machine.succeed("logger -t orlop-test -p daemon.warning 'a line for afar'")
    line = syslog_listener.wait_for("a line for afar")
    match = RFC_5424.match(line)
    assert match is not None, line
    assert int(match["priority"]) == 3 * 8 + 4  # daemon, warning
    assert match["tag"] == "orlop-test"
    datetime.datetime.fromisoformat(match["time"])


def test_lease_is_taken(machine: Machine) -> None:
    assert "10.0.2.15/24" in machine.succeed("ip -4 addr show")
    assert "default via 10.0.2.2" in machine.succeed("ip -4 route show")
    assert "nameserver 10.0.2.3" in machine.succeed("cat /etc/resolv.conf")


def test_router_advertisement_is_heard(machine: Machine) -> None:
    machine.wait_until_succeeds("ip -6 addr show | grep -q 'inet6 fec0:'", timeout_s=60)


def test_addresses_are_told_at_the_end_of_boot(machine: Machine) -> None:
    ready = machine.boot_events[-1]
    assert ready.event == "ready"
    assert ready.services.keys() >= {"network", "ssh"}


def test_key_logs_in(machine: Machine) -> None:
    done = ssh(machine, ["orlop", "ps"])
    assert done.returncode == 0, done.stderr
    assert "ssh" in done.stdout


def test_remote_status_comes_back(machine: Machine) -> None:
    assert ssh(machine, ["exit 7"]).returncode == 7


def test_password_does_not_log_in(machine: Machine) -> None:
    options = ["-o", "PubkeyAuthentication=no", "-o", "BatchMode=yes"]
    done = ssh(machine, ["true"], options)
    assert done.returncode == 255
    # What the server offers is in its answer; a password is not among it.
    assert re.search(r"Permission denied \(publickey\)", done.stderr), done.stderr


def test_another_key_does_not_log_in(machine: Machine, lab: Lab) -> None:
    key = lab.scratch / "stranger"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    options = ["-i", str(key), "-o", "BatchMode=yes"]
    own = str(machine.directory / "key")
    command = [word for word in host_ssh(machine, ["true"]) if word not in ("-i", own)]
    done = subprocess.run(
        [command[0], *options, *command[1:]],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == 255
    assert "Permission denied" in done.stderr


@pytest.mark.parametrize("bus", [DiskBus.VIRTIO, DiskBus.USB])
def test_disk_is_plugged_in_and_out(machine: Machine, lab: Lab, bus: DiskBus) -> None:
    label = f"PLUGGED_{bus.upper()}"
    disk = lab.disk(f"plug{bus}", 32, label=label)
    serial = f"plugged-{bus}"
    link = f"/dev/disk/by-label/{label}"
    with machine.hotplug_disk(disk.path, bus, serial=serial):
        machine.wait_until_succeeds(f"test -b {link}", timeout_s=60)
        uuid = machine.succeed(f"ls -l /dev/disk/by-uuid; readlink -f {link}")
        assert "/dev/" in uuid
        machine.succeed(f"ls /dev/disk/by-id | grep -q {serial}")
        # What the name leads to is the disk that was plugged in.
        machine.succeed(f"dd if={link} bs=1024 skip=1 count=1 2>/dev/null | grep -q {label}")
    machine.wait_until_succeeds(f"test ! -e {link}", timeout_s=60)


def ssh(
    machine: Machine, words: list[str], options: list[str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run *words* on the machine over SSH, with more *options* for the client."""
    command = host_ssh(machine, words)
    return subprocess.run(
        [command[0], *(options or []), *command[1:]],
        capture_output=True,
        text=True,
        timeout=90,
        env=environment(),
        check=False,
    )
