"""The configuration over boots: broken files, trials, commands, kernel parameters."""

import subprocess
from collections.abc import Iterator

import pytest

from orlop.vm.machine import Machine
from orlop.vm.spec import Disk
from tests.bad_configurations import BAD_DOCUMENTS
from tests.vm import guest
from tests.vm.lab import SSH_PUBLISHED, Lab, host_ssh

CONF = "/var/lib/orlop/conf.d"
PARAMETERS = (
    "orlop.network.search=[example] rancher.sysctl={vm.swappiness: 7} cc.hostnam=x orlop.debugg"
).replace("{", '"{').replace("}", '}"')  # fmt: skip

FIRST = """\
orlop:
  time: {pools: [whole.example]}
  sysctl: {kernel.printk_ratelimit: 9}
  runcmd: boot
write_files:
  - {path: /etc/motd, content: "from the configuration\\n"}
  - {path: /root/made, content: kept, permissions: "0600"}
timezone: Asia/Kolkata
swap: {size: 16m}
mounts: [[LABEL=DATA, /mnt/data]]
bootcmd: [echo booted >> /root/boots]
runcmd:
  - docker version --format '{{.Server.Version}}' > /root/version
  - [sh, -c, "cp /etc/motd /mnt/data/ran; cat /etc/motd >> /root/ran"]
"""


@pytest.fixture(scope="module")
def disk(lab: Lab) -> Disk:
    return lab.state_disk(128)


@pytest.fixture(scope="module")
def data(lab: Lab) -> Disk:
    return lab.disk("data", 32, label="DATA")


@pytest.fixture(scope="module")
def keeper(lab: Lab, disk: Disk, data: Disk) -> Iterator[Machine]:
    medium = lab.kernel(PARAMETERS)
    with lab.machine(
        medium, "configured", disks=(disk, data), key=True, nics=(SSH_PUBLISHED,)
    ) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        yield machine


def put(machine: Machine, name: str, content: bytes) -> None:
    answer = machine.run(["sh", "-c", f"cat > {CONF}/{name}.yml"], stdin=content)
    assert answer.status == 0, answer


def pools(machine: Machine) -> str:
    """A value that no stronger source sets on machines of these tests, as one has for the name."""
    return machine.succeed("orlop config get orlop.time.pools")


def over_ssh(machine: Machine, words: list[str]) -> str:
    command = host_ssh(machine, words)
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def reboot(machine: Machine) -> None:
    guest.end(machine, "orlop", "reboot")
    machine.wait_for_ready()
    guest.wait_for_services(machine)


def test_kernel_parameters(keeper: Machine) -> None:
    assert keeper.succeed("cat /proc/sys/vm/swappiness") == "7\n"
    assert "example" in keeper.succeed("orlop config get orlop.network.search")
    complaints = guest.warnings(keeper)
    assert any("orlop.debugg" in text and "orlop.debug?" in text for text in complaints)
    assert any("cc.hostnam" in text and "hostname?" in text for text in complaints)
    assert any("is called orlop.sysctl here" in text for text in complaints)


def test_files_and_commands_at_boot(keeper: Machine) -> None:
    put(keeper, "10-first", FIRST.encode())
    keeper.succeed("sync")
    reboot(keeper)
    assert pools(keeper) == "- whole.example\n"
    assert keeper.succeed("cat /proc/sys/kernel/printk_ratelimit") == "9\n"
    assert keeper.succeed("cat /root/boots") == "booted\n"
    keeper.wait_until_succeeds("test -s /root/version -a -s /root/ran", timeout_s=120)
    assert keeper.succeed("cat /root/ran /root/made") == "from the configuration\nkept"
    assert keeper.succeed("stat -c %a /root/made") == "600\n"
    assert over_ssh(keeper, ["cat", "/mnt/data/ran"]) == "from the configuration\n"
    assert "/dev/vdb /mnt/data ext4 rw,nosuid,nodev" in over_ssh(keeper, ["cat", "/proc/mounts"])
    assert "/var/lib/orlop/swap" in keeper.succeed("cat /proc/swaps")
    assert over_ssh(keeper, ["date", "+%Z%z"]) == "IST+0530\n"
    assert over_ssh(keeper, ["cat", "/etc/motd"]) == "from the configuration\n"


def test_broken_files_stop_nothing(keeper: Machine) -> None:
    """One boot with every kind of broken file at once, one of which was whole before."""
    keeper.succeed("rm -f /root/ran")
    for name, content in BAD_DOCUMENTS.items():
        put(keeper, f"bad-{name}", content)
    put(keeper, "10-first", FIRST.encode() + b"hostnam: typo\n")
    keeper.succeed("sync")
    reboot(keeper)
    complaints = guest.warnings(keeper)
    for name in BAD_DOCUMENTS:
        place = f"{CONF}/bad-{name}.yml:"
        found = [text for text in complaints if text.startswith(place)]
        assert len(found) == 1, (name, complaints)
        assert found[0].removeprefix(place).split(":")[0].isdecimal(), found
    assert any(f"{CONF}/10-first.yml:15: " in text for text in complaints), complaints
    assert any("bad-key.yml:2" in line for line in keeper.console().splitlines())
    # What was whole at the last boot still counts, and so does everything else.
    assert pools(keeper) == "- whole.example\n"
    assert guest.status(keeper)["hostname"] == "configured"
    assert over_ssh(keeper, ["orlop", "config", "get", "hostname"]) == "configured\n"
    keeper.wait_until_succeeds("test -s /root/ran", timeout_s=120)
    assert keeper.succeed("cat /root/boots") == "booted\nbooted\n"
    keeper.succeed(f"rm {CONF}/bad-*; sync")
    put(keeper, "10-first", FIRST.encode())


def test_a_trial_ends_with_the_boot(keeper: Machine) -> None:
    keeper.succeed("orlop config set orlop.time.pools [trial.example] --confirm 10m")
    assert pools(keeper) == "- trial.example\n"
    reboot(keeper)
    assert pools(keeper) == "- whole.example\n"
    assert any("was not confirmed" in text for text in guest.warnings(keeper))
    keeper.succeed("orlop config set orlop.time.pools [kept.example]")
    keeper.power_cut()
    keeper.boot()
    guest.wait_for_services(keeper)
    assert pools(keeper) == "- kept.example\n"
    keeper.succeed("orlop config set swap.size 0")
    assert "orlop/swap" not in keeper.succeed("cat /proc/swaps")
    assert "config.yml:3" in keeper.succeed("orlop config explain orlop.time.pools")


def test_a_change_over_ssh_is_answered(keeper: Machine) -> None:
    """It restarts the SSH service, and with it the session that asked for it."""
    entry = "'[{path: /etc/over-ssh, content: here}]'"
    said = over_ssh(keeper, ["orlop", "config", "set", "write_files+", entry])
    assert "restart ssh" in said
    assert "is in force" in said

    def is_there() -> bool:
        try:
            return over_ssh(keeper, ["cat", "/etc/over-ssh"]) == "here"
        except subprocess.CalledProcessError:
            return False

    keeper.wait_until(is_there, "the file in a new session")
    assert over_ssh(keeper, ["date", "+%z"])
