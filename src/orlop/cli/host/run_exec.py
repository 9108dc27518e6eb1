"""`./orlop run exec`: a command in a machine, over its agent's virtio port; needs no network."""

import argparse
import sys
from collections.abc import Sequence

from orlop.cli.host.machines import choose_machine
from orlop.lib.errors import InvalidArgument
from orlop.vm.agent_client import AgentClient
from orlop.vm.qemu import AGENT_SOCKET


def main(argv: Sequence[str]) -> int:
    """Run the words after `--`, pass on what they wrote, and return their status."""
    words = list(argv)
    split = words.index("--") if "--" in words else min(len(words), 1)
    parser = argparse.ArgumentParser(
        prog="orlop run exec",
        usage="orlop run exec [--timeout S] [NAME] -- COMMAND ...",
        allow_abbrev=False,
    )
    parser.add_argument("name", nargs="?")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S")
    options = parser.parse_args(words[:split])
    command = [word for word in words[split:] if word != "--" or word is not words[split]]
    if not command:
        raise InvalidArgument("no command given", hint="./orlop run exec NAME -- orlop ps")
    machine = choose_machine(options.name)
    agent = AgentClient(machine.path, AGENT_SOCKET)
    answer = agent.run(command, timeout_s=options.timeout)
    sys.stdout.buffer.write(answer.stdout)
    sys.stderr.buffer.write(answer.stderr)
    # As a shell says it: 128 and the signal's number.
    return answer.status if answer.status >= 0 else 128 - answer.status
