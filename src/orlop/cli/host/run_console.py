"""`./orlop run console`: the serial console of a machine that runs."""

import argparse
import sys
from collections.abc import Sequence

from orlop.cli.host.machines import choose_machine, press, stop
from orlop.vm import terminal

CONTEXT_LINES = 20


def main(argv: Sequence[str]) -> int:
    """Attach the terminal until the person leaves or the machine ends."""
    parser = argparse.ArgumentParser(
        prog="orlop run console",
        epilog="\n".join(terminal.HELP),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?")
    machine = choose_machine(parser.parse_args(argv).name)
    print(machine.console_tail(CONTEXT_LINES))
    print("(Ctrl-] d leaves the console, Ctrl-] ? helps)", file=sys.stderr, flush=True)
    outcome = terminal.attach(machine.path, lambda action: press(machine, action), list)
    # A signal to a mere onlooker is no reason to stop the machine; the key is.
    if outcome is terminal.Outcome.QUIT and sys.stdin.isatty():
        stop(machine, force=False)
    return 0
