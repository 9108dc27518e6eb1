"""`./orlop run`: start the built system in a virtual machine; and its subcommands.

Inside the tool root. The launcher has built `out/orlop.iso` before, and says where the checkout
and the cache are.
"""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orlop.cli.host.image import write_image
from orlop.cli.host.machines import cache_path, checkout_path, press, stop
from orlop.image.command_line import default_command_line
from orlop.image.disk import DiskImage, Format
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.lib.process import run as run_command
from orlop.lib.units import format_size
from orlop.vm import accelerator, boot_log, config, directory, launch, ssh, summary, terminal
from orlop.vm.directory import MachineDirectory
from orlop.vm.spec import (
    DEFAULT_DISK_SIZE_BYTES,
    DEFAULT_MEMORY_MIB,
    BootMedium,
    CdRom,
    DirectKernel,
    Disk,
    Firmware,
    Installed,
    MachineSpec,
    Publish,
    UserNet,
    parse_disk,
    parse_memory_mib,
    parse_name,
    parse_publish,
)

SUBCOMMANDS = ("ls", "stop", "console", "ssh", "exec", "logs", "screenshot")
READY_TIMEOUT_S = 300.0
"""An emulated boot takes some ten seconds; a busy host may be ten times slower."""
ISO, SIGNED_ISO, ENROLLED = "orlop.iso", "orlop-signed.iso", "ovmf-vars.fd"
STATE_LABEL = "ORLOP_STATE"
_TUNNEL_WAIT_S = 15.0

_EPILOG = """\
machines that run already:
  ./orlop run ls [--json]             what runs, and where its SSH is
  ./orlop run console [NAME]          the serial console; Ctrl-] d leaves it, Ctrl-] ? helps
  ./orlop run ssh [NAME] [COMMAND]    a shell, or a command
  ./orlop run exec [NAME] -- COMMAND  a command without a network, over a virtio port
  ./orlop run logs [NAME] [--follow] [--boot]
  ./orlop run screenshot [NAME] FILE.png
  ./orlop run stop [NAME | --all] [--force]
"""


def parser() -> argparse.ArgumentParser:
    """The options of `./orlop run`."""
    result = argparse.ArgumentParser(
        prog="orlop run",
        description="Start Orlop in a virtual machine; builds it first if needed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    firmware = result.add_mutually_exclusive_group()
    for choice in Firmware:
        firmware.add_argument(
            f"--{choice}",
            dest="firmware",
            action="store_const",
            const=choice,
            help=f"start with {choice.upper()} firmware"
            + (" (default)" if choice is Firmware.BIOS else ""),
        )
    add = result.add_argument
    add("--memory", metavar="MIB", default=str(DEFAULT_MEMORY_MIB), help="512 (default), 2g")
    add("--cpus", metavar="N", type=int, default=min(2, os.cpu_count() or 1))
    add("--disk", metavar="NAME[=SIZE]", action="append", default=[], help="a disk that is kept")
    add(
        "--state",
        metavar="NAME[=SIZE]",
        action="append",
        default=[],
        help="as --disk, made ready to keep the machine's state",
    )
    add(
        "--installed",
        metavar="NAME[=SIZE]",
        help="start an installed system from a disk that is kept; a new one is made from the build",
    )
    add(
        "--publish",
        metavar="HOST:GUEST[/udp]",
        action="append",
        default=[],
        help="a port of the machine on 127.0.0.1",
    )
    add("--config", metavar="FILE", type=Path, help="machine configuration (YAML)")
    add(
        "--append",
        metavar="WORDS",
        help="more kernel parameters; starts the kernel without a boot loader",
    )
    add(
        "--keys",
        metavar="DIR",
        type=Path,
        help="with UEFI and Secure Boot, in which these keys are enrolled: see ./orlop keys",
    )
    add("--detach", action="store_true", help="return when the machine is ready")
    add("--name", metavar="NAME", help="default: orlop, orlop-2, ...")
    add("--timeout", metavar="S", type=float, default=READY_TIMEOUT_S, help="limit for the boot")
    result.set_defaults(firmware=Firmware.BIOS)
    return result


def module_of(subcommand: str) -> str:
    """The module of one of `SUBCOMMANDS`."""
    return f"orlop.cli.host.run_{subcommand}"


def main(argv: Sequence[str]) -> int:
    """Run `./orlop run` with *argv* and return the exit status.

    Raises:
        OrlopError: with what went wrong; whoever called reports it.
    """
    if argv and argv[0] in SUBCOMMANDS:
        module = importlib.import_module(module_of(argv[0]))
        status: int = module.main(argv[1:])
        return status
    options = parser().parse_args(argv)
    cache = cache_path()
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = parse_name(options.name) if options.name else directory.free_name(cache)
    text = _read_config(options.config)
    disks = plan_disks(cache, options.disk, options.state)
    installed = plan_disks(cache, [options.installed] if options.installed else [], [])
    publish = [parse_publish(entry) for entry in options.publish]
    iso = checkout_path() / "out" / (SIGNED_ISO if options.keys else ISO)
    medium = plan_medium(iso, options, [disk for disk, _, _ in installed])
    spec = plan_machine(options, medium, name, disks, publish)
    machine_directory = directory.machine_directory(cache, name)
    lock = machine_directory.acquire()
    public_key = ssh.make_key(machine_directory.path, f"orlop machine {name}")
    source = str(options.config or "--config")
    merged = config.merge(text, public_key, name, source=source)
    for disk, size_bytes, format_it in disks:
        prepare_disk(disk.path, size_bytes, format_it=format_it)
    for disk, size_bytes, _ in installed:
        prepare_installed(disk.path, size_bytes, iso)
    chosen = accelerator.choose(cache)
    machine = launch.launch(_with_config(spec, merged), machine_directory, lock, chosen)
    return _detached(machine, options.timeout) if options.detach else _attached(machine, options)


def plan_machine(
    options: argparse.Namespace,
    medium: BootMedium,
    name: str,
    disks: Sequence[tuple[Disk, int | None, bool]],
    publish: Sequence[Publish],
) -> MachineSpec:
    """The machine that the options describe, without its configuration."""
    if options.cpus < 1:
        raise InvalidArgument(f"a machine with {options.cpus} processors cannot boot")
    return MachineSpec(
        name=name,
        medium=medium,
        memory_mib=parse_memory_mib(options.memory),
        cpus=options.cpus,
        firmware=Firmware.UEFI if options.keys else options.firmware,
        secure_boot=options.keys and _built(options.keys.absolute() / ENROLLED),
        disks=(*(disk for disk, _, _ in disks), *plan_extras(checkout_path())),
        # Host port 0: QEMU takes a free one, and any number of machines can run at once.
        nics=(UserNet(publish=(Publish(0, directory.SSH_GUEST_PORT), *publish)),),
        usb=True,
        hotplug_slots=2,
    )


def plan_medium(
    iso: Path, options: argparse.Namespace, installed: Sequence[Disk] = ()
) -> BootMedium:
    """*iso*; the disk that has the system *installed*; kernel and initrd, to append parameters.

    Raises:
        InvalidArgument: parameters are to be appended to what has its own.
        NotFound: there is nothing built.
    """
    if options.append is None:
        return Installed(installed[0]) if installed else CdRom(_built(iso))
    if installed or options.keys:
        raise InvalidArgument("--append is for the kernel without a boot loader")
    line = f"{default_command_line(checkout_path())} {options.append}"
    return DirectKernel(_built(iso.parent / "vmlinuz"), _built(iso.parent / "initrd"), line)


def plan_extras(checkout: Path) -> tuple[Disk, ...]:
    """The disk with the extras of storage, where they have been built.

    The last one, so that the others are called as if there were none.
    """
    path = checkout / "out/orlop-extras.erofs"
    return (Disk(path, serial="extras", read_only=True),) if path.exists() else ()


def _built(path: Path) -> Path:
    if not path.exists():
        raise NotFound(f"there is no {path}", hint="./orlop build")
    return path


def plan_disks(
    cache: Path, plain: Sequence[str], state: Sequence[str]
) -> list[tuple[Disk, int | None, bool]]:
    """Each disk, the size it was asked to have, and whether a new one becomes a state disk."""
    wanted = [(parse_disk(text), False) for text in plain]
    wanted += [(parse_disk(text), True) for text in state]
    return [
        (Disk(directory.disk_path(cache, name), serial=name[:20]), size_bytes, is_state)
        for (name, size_bytes), is_state in wanted
    ]


def prepare_disk(path: Path, size_bytes: int | None, *, format_it: bool) -> None:
    """Make the disk if there is none; one that exists is never changed.

    Raises:
        InvalidArgument: it exists with another size than asked for.
    """
    if path.exists():
        present_bytes = path.stat().st_size
        if size_bytes is not None and size_bytes != present_bytes:
            raise InvalidArgument(
                f"disk {path.stem} exists with {format_size(present_bytes)}",
                hint=f"leave the size out, use another name, or remove {path}",
            )
        return
    directory.ensure_disk(path, size_bytes or DEFAULT_DISK_SIZE_BYTES)
    if format_it:
        run_command(["mkfs.ext4", "-q", "-F", "-L", STATE_LABEL, path], timeout_s=120)


def prepare_installed(path: Path, size_bytes: int | None, iso: Path) -> None:
    """Make the disk with an installed system if there is none; one that exists is never changed.

    Raises:
        InvalidArgument: it exists with another size than asked for.
    """
    if path.exists():
        prepare_disk(path, size_bytes, format_it=False)
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = DiskImage(_built(iso), size_bytes or DEFAULT_DISK_SIZE_BYTES)
    write_image(wanted, path, Format.RAW, checkout_path())


def _with_config(spec: MachineSpec, merged: bytes) -> MachineSpec:
    return replace(spec, config=merged)


def _read_config(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"cannot read {path}: {error}") from error


def _detached(machine: launch.Launched, timeout_s: float) -> int:
    print(f"machine {machine.directory.name} is starting ...", file=sys.stderr, flush=True)
    events = launch.wait_until_ready(machine, timeout_s)
    took_s = time.monotonic() - machine.started_monotonic_s
    _wait_for_tunnel(machine.directory)
    machine.release()
    print("\n".join(summary.ready_lines(machine.directory, events, took_s)))
    return 0


def _wait_for_tunnel(machine: MachineDirectory) -> None:
    """Give the tunnel a moment, so that the DOCKER_HOST that is printed works at once."""
    deadline = time.monotonic() + _TUNNEL_WAIT_S
    while time.monotonic() < deadline and not (machine.path / directory.DOCKER_SOCKET).exists():
        time.sleep(0.1)


def _attached(machine: launch.Launched, options: argparse.Namespace) -> int:
    print("the console follows; Ctrl-] ? lists the keys", file=sys.stderr, flush=True)
    watch = _ReadyWatch(machine, options.timeout)
    outcome = terminal.attach(
        machine.directory.path, lambda action: press(machine.directory, action), watch.tick
    )
    if outcome is terminal.Outcome.DETACHED:
        machine.release()
        lines = ["", f"machine {machine.directory.name} goes on", ""]
        print("\n".join([*lines, *summary.ways_in(machine.directory)]), file=sys.stderr)
        return 0
    if outcome is terminal.Outcome.QUIT:
        print("\nshutting down ...", file=sys.stderr, flush=True)
        stop(machine.directory, force=False)
    return 0


class _ReadyWatch:
    """Says once that the machine is ready, or that it should have been."""

    def __init__(self, machine: launch.Launched, timeout_s: float) -> None:
        self._machine = machine
        self._timeout_s = timeout_s
        self._said = False

    def tick(self) -> list[str]:
        if self._said:
            return []
        took_s = time.monotonic() - self._machine.started_monotonic_s
        events = boot_log.last_boot(self._machine.directory.boot_events())
        if boot_log.current_state(events) == "ready":
            self._said = True
            return summary.ready_lines(self._machine.directory, events, took_s)
        if took_s > self._timeout_s:
            self._said = True
            return [f"not ready after {self._timeout_s:.0f} s; Ctrl-] q quits"]
        return []
