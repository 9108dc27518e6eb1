"""`./orlop run logs`: what a machine wrote on its console, running or ended."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from orlop.cli.host.machines import choose_machine
from orlop.vm import boot_log
from orlop.vm.directory import MachineDirectory
from orlop.vm.qemu import CONSOLE_LOG
from orlop.vm.terminal import write_all

_POLL_S = 0.2


def main(argv: Sequence[str]) -> int:
    """Print the console's log, or the stages of the last boot."""
    parser = argparse.ArgumentParser(prog="orlop run logs", allow_abbrev=False)
    parser.add_argument("name", nargs="?")
    parser.add_argument("--follow", "-f", action="store_true", help="go on as it grows")
    parser.add_argument("--boot", action="store_true", help="the stages of the last boot instead")
    options = parser.parse_args(argv)
    machine = choose_machine(options.name)
    if options.boot:
        print("\n".join(boot_log.render_stages(boot_log.last_boot(machine.boot_events()))))
        return 0
    _copy(machine, follow=options.follow)
    return 0


def _copy(machine: MachineDirectory, *, follow: bool) -> None:
    with (machine.path / CONSOLE_LOG).open("rb") as log:
        while True:
            # Asked before reading: what the machine wrote last is not missed.
            more = follow and machine.running()
            while data := log.read(1 << 16):
                write_all(sys.stdout.fileno(), data)
            if not more or os.fstat(log.fileno()).st_nlink == 0:
                return
            time.sleep(_POLL_S)
