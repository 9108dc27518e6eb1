"""`./orlop run` before anything is started: configuration, disks, ports, the accelerator."""

import itertools
from pathlib import Path

import pytest
import yaml

from orlop.cli.host.run import parser, plan_disks, prepare_disk
from orlop.lib.errors import InvalidArgument
from orlop.vm import accelerator, ssh
from orlop.vm.config import merge
from orlop.vm.process import parse_forwards
from orlop.vm.qemu import KVM, TCG
from orlop.vm.spec import Firmware, Protocol

KEY = "ssh-ed25519 AAAA machine\n"


def test_the_key_is_added_to_the_users_configuration() -> None:
    text = "hostname: web\nssh_authorized_keys: [theirs]\norlop: {time: {servers: [a]}}\n"
    assert yaml.safe_load(merge(text, KEY, "orlop")) == {
        "hostname": "web",
        "ssh_authorized_keys": ["theirs", "ssh-ed25519 AAAA machine"],
        "orlop": {"time": {"servers": ["a"]}},
    }


def test_no_configuration() -> None:
    assert yaml.safe_load(merge("", KEY, "orlop")) == {
        "hostname": "orlop",
        "ssh_authorized_keys": ["ssh-ed25519 AAAA machine"],
    }


@pytest.mark.parametrize("text", ["- a", "a: [", "ssh_authorized_keys: mine", "x"])
def test_what_is_no_configuration(text: str) -> None:
    with pytest.raises(InvalidArgument, match="--config"):
        merge(text, KEY, "orlop")


def test_firmware_options() -> None:
    assert parser().parse_args([]).firmware is Firmware.BIOS
    assert parser().parse_args(["--uefi"]).firmware is Firmware.UEFI


def test_disks(tmp_path: Path) -> None:
    [(disk, size_bytes, is_state), (other, _, other_is_state)] = plan_disks(
        tmp_path, ["data=64m"], ["state"]
    )
    assert (disk.path, size_bytes, is_state) == (tmp_path / "disks/data.img", 64 << 20, False)
    assert (other.serial, other_is_state) == ("state", True)
    prepare_disk(disk.path, size_bytes, format_it=False)
    prepare_disk(disk.path, None, format_it=False)
    assert disk.path.stat().st_size == 64 << 20
    with pytest.raises(InvalidArgument, match="exists with"):
        prepare_disk(disk.path, 128 << 20, format_it=False)


def test_ports_that_qemu_chose() -> None:
    usernet = (
        "Hub -1 (net0):\n"
        "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n"
        "  TCP[ESTABLISHED]   20       127.0.0.1 55555       10.0.2.15    22     0     0\n"
        "  TCP[HOST_FORWARD]  13       127.0.0.1 42615       10.0.2.15    22     0     0\n"
        "  UDP[HOST_FORWARD]  14       127.0.0.1  5353               *    53     0     0\n"
    )
    assert parse_forwards(usernet) == {(Protocol.TCP, 22): 42615, (Protocol.UDP, 53): 5353}


def test_ssh_command_lines() -> None:
    words = ssh.forward_command(Path("/m"), 2222)
    tunnels = [after for word, after in itertools.pairwise(words) if word == "-L"]
    assert tunnels == [
        "/m/docker.sock:/run/orlop/docker/docker.sock",
        "/m/system.sock:/run/orlop/system.sock",
    ]
    assert ssh.command(Path("/m"), 2222, ["orlop", "ps"])[-2:] == ["orlop", "ps"]
    assert "-p 2222" in ssh.short_command(Path("/m"), 2222)


@pytest.fixture
def kvm_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accelerator, "KVM_DEVICE", device)
    return device


def test_kvm_must_boot_something(
    tmp_path: Path, kvm_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def boots(which: object) -> bool:
        asked.append(str(which))
        return False

    monkeypatch.setattr(accelerator, "boots", boots)
    assert accelerator.choose(tmp_path) is TCG
    assert accelerator.choose(tmp_path) is TCG
    assert len(asked) == 1, "the answer is remembered"
    (tmp_path / accelerator.CACHE_FILE).write_text('{"boot_id": "another", "kvm": true}')
    assert accelerator.choose(tmp_path) is TCG
    assert len(asked) == 2, "but not over a reboot of the host"
    kvm_device.unlink()
    assert accelerator.choose(tmp_path) is TCG


def test_kvm_that_works(tmp_path: Path, kvm_device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kvm_device.exists()
    monkeypatch.setattr(accelerator, "boots", lambda _: True)
    assert accelerator.choose(tmp_path) is KVM


def test_the_probe_is_a_boot_sector() -> None:
    disk = accelerator.boot_disk()
    assert disk[510:512] == b"\x55\xaa"
    assert b"\xb0\x2a\xe6\xf4\xf4\xeb\xfd" in disk, "it reports, and halts"


def test_the_probe_tries_an_instruction_that_emulators_of_instructions_lack() -> None:
    disk = accelerator.boot_disk()
    # lgdt [table]: the table's description is where that says, and describes two segments.
    assert disk[5:8] == b"\x0f\x01\x16"
    described = int.from_bytes(disk[8:10], "little") - 0x7C00
    assert int.from_bytes(disk[described : described + 2], "little") == 15
    # jmp 8:next leads to the byte behind it, where cpuid says whether shlx may be tried.
    assert disk[18] == 0xEA
    assert int.from_bytes(disk[19:21], "little") - 0x7C00 == 23
    assert disk[23:].index(b"\x0f\xa2") < disk[23:].index(b"\xc4\xe2\x71\xf7\xc0") < 32
