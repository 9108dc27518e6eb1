"""`./orlop run stop`: end virtual machines, by the power button or by the plug."""

import argparse
from collections.abc import Sequence

from orlop.cli.host.machines import cache_path, choose_machine, stop
from orlop.vm.directory import list_machines


def main(argv: Sequence[str]) -> int:
    """Stop the named machines, the only one, or all; waits until they are off."""
    parser = argparse.ArgumentParser(prog="orlop run stop", allow_abbrev=False)
    parser.add_argument("name", nargs="*")
    parser.add_argument("--all", action="store_true", help="every machine that runs")
    parser.add_argument("--force", action="store_true", help="pull the plug")
    options = parser.parse_args(argv)
    if options.all:
        machines = [entry for entry in list_machines(cache_path()) if entry.running()]
    else:
        machines = [choose_machine(name) for name in options.name or [None]]
    for machine in machines:
        stopped = stop(machine, force=options.force)
        killed = bool(machine.read_state().get("killed"))
        how = "was not running" if not stopped else "killed" if killed else "off"
        print(f"{machine.name}: {how}")
    return 0
