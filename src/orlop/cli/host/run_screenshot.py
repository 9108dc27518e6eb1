"""`./orlop run screenshot`: what a machine's monitor shows, as PNG."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from orlop.cli.host.machines import choose_machine
from orlop.vm.qemu import QMP_SOCKET
from orlop.vm.qmp import Qmp


def main(argv: Sequence[str]) -> int:
    """Write the screen to a file."""
    parser = argparse.ArgumentParser(prog="orlop run screenshot", allow_abbrev=False)
    parser.add_argument("name", nargs="?")
    parser.add_argument("file", type=Path)
    options = parser.parse_args(argv)
    machine = choose_machine(options.name)
    target = options.file.absolute()
    with Qmp(machine.path, QMP_SOCKET) as qmp:
        qmp.execute("screendump", {"filename": str(target), "format": "png"})
    print(target)
    return 0
