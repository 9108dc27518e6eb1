"""`./orlop run ls`: the virtual machines of this cache."""

import argparse
import json
from collections.abc import Sequence

from orlop.cli.host.machines import cache_path
from orlop.vm.directory import list_machines
from orlop.vm.summary import machine_row, table_lines


def main(argv: Sequence[str]) -> int:
    """List the machines, as a table or as JSON."""
    parser = argparse.ArgumentParser(prog="orlop run ls", allow_abbrev=False)
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(argv)
    rows = [machine_row(entry) for entry in list_machines(cache_path())]
    print(json.dumps(rows, indent=2) if options.json else "\n".join(table_lines(rows)))
    return 0
