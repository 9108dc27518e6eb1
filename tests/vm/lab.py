"""Where the machines of the tests are made: what they boot, how they are named, what is kept.

A machine that a test asks for is switched off at the test's end. When a test fails, the consoles
and command lines of all machines that exist then are shown and copied to `out/failed/TEST/`.
"""

import contextlib
import itertools
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypedDict, Unpack

import yaml

from orlop.image.command_line import default_command_line
from orlop.lib.process import pasteable, run
from orlop.vm import accelerator, qemu, ssh
from orlop.vm.config import merge
from orlop.vm.machine import Machine
from orlop.vm.spec import (
    BootMedium,
    CdRom,
    DirectKernel,
    Disk,
    Firmware,
    MachineSpec,
    Nic,
    Publish,
    UsbStick,
    UserNet,
)

STATE_LABEL = "ORLOP_STATE"
SSH_PUBLISHED = UserNet(publish=(Publish(0, 22),))
SLOW_FACTOR_VARIABLE = "ORLOP_TEST_SLOW"
"""A number that all time limits are multiplied by, for a host busier than most."""


class Hardware(TypedDict, total=False):
    """What a test may choose; the rest is as in `MachineSpec`."""

    memory_mib: int
    cpus: int
    firmware: Firmware
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    rtc_start: str
    hotplug_slots: int
    usb: bool
    random_numbers: bool
    secure_boot: Path | None
    extra: tuple[str, ...]


@dataclass(slots=True)
class Lab:
    """Makes machines from the files of one build."""

    checkout: Path
    scratch: Path
    accelerator: qemu.Accelerator
    machines: list[Machine] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def out(self) -> Path:
        return self.checkout / "out"

    def cd(self) -> BootMedium:
        return CdRom(self.out / "orlop.iso")

    def usb_stick(self) -> BootMedium:
        return UsbStick(self.out / "orlop.iso")

    def kernel(self, append: str = "") -> DirectKernel:
        """The build's kernel and initrd without a boot loader: seconds less per boot."""
        line = f"{default_command_line(self.checkout)} {append}".strip()
        return DirectKernel(self.out / "vmlinuz", self.out / "initrd", line)

    @contextlib.contextmanager
    def machine(
        self,
        medium: BootMedium,
        name: str = "vm",
        *,
        config: dict[str, object] | None = None,
        key: bool = False,
        **hardware: Unpack[Hardware],
    ) -> Iterator[Machine]:
        """A machine that is off; *key* makes an SSH key and publishes the guest's port 22."""
        directory = self.scratch / f"{name}-{next(self._numbers)}"
        directory.mkdir()
        text = yaml.safe_dump(config) if config else ""
        content = text.encode() or None
        if key:
            content = merge(text, ssh.make_key(directory, "test"), name)
            hardware.setdefault("nics", (SSH_PUBLISHED,))
        spec = replace(MachineSpec(name, medium, **hardware), config=content)
        slow_factor = float(os.environ.get(SLOW_FACTOR_VARIABLE, "1"))
        with Machine(spec, directory, self.accelerator, slow_factor=slow_factor) as machine:
            self.machines.append(machine)
            yield machine
            self.machines.remove(machine)

    def disk(
        self,
        name: str,
        size_mib: int = 256,
        *,
        label: str | None = None,
        content: Path | None = None,
    ) -> Disk:
        """A new disk: blank, or with an ext4 file system called *label* that has what is in the
        folder *content*."""
        path = self.scratch / f"{name}-{next(self._numbers)}.img"
        with path.open("wb") as image:
            image.truncate(size_mib << 20)
        if label is not None:
            filling: list[str | Path] = [] if content is None else ["-d", content]
            run(["mkfs.ext4", "-q", "-F", "-L", label, *filling, path], timeout_s=120)
        return Disk(path, serial=name)

    def state_disk(self, size_mib: int = 256, *, content: Path | None = None) -> Disk:
        """A disk on which a machine keeps its state, which is what is in *content*."""
        return self.disk("state", size_mib, label=STATE_LABEL, content=content)

    def make_swap(self, disk: Disk, label: str) -> None:
        """Make *disk* a swap area called *label*."""
        run(["mkswap", "-q", "-L", label, disk.path], timeout_s=60)

    def keep_evidence(self, test: str) -> list[tuple[str, str]]:
        """Copy the logs of all machines for *test*; titles and texts to show."""
        target = self.out / "failed" / re.sub(r"[^\w.-]+", "_", test).strip("_")
        sections: list[tuple[str, str]] = []
        for machine in self.machines:
            folder = target / machine.directory.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "command").write_text(pasteable(machine.argv, machine.directory) + "\n")
            for log in sorted(machine.directory.glob("*.log")):
                shutil.copyfile(log, folder / log.name)
            sections.append((f"machine {machine.directory.name} ({folder})", machine.describe()))
        return sections


def make_lab(checkout: Path, scratch: Path, cache: Path | None) -> Lab:
    """A lab for the build in *checkout*; *cache* remembers whether KVM works."""
    return Lab(checkout, scratch, accelerator.choose(cache or scratch))


def host_ssh(machine: Machine, words: Sequence[str]) -> list[str]:
    """The command line of an SSH client with the machine's key."""
    return ssh.command(machine.directory, machine.ssh_port(), words)
