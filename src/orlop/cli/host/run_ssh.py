"""`./orlop run ssh`: a shell or a command in a machine that runs, over SSH."""

import os
from collections.abc import Sequence

from orlop.cli.host.machines import cache_path, choose_machine
from orlop.lib.errors import Unavailable
from orlop.vm import ssh
from orlop.vm.directory import machine_directory


def main(argv: Sequence[str]) -> int:
    """Become the SSH client; the first word is a machine's name if there is one of that name."""
    words = list(argv)
    name = None
    if words and machine_directory(cache_path(), words[0]).path.is_dir():
        name = words.pop(0)
    if words and words[0] == "--":
        words.pop(0)
    machine = choose_machine(name)
    port = machine.ssh_port()
    if port is None or not machine.running():
        raise Unavailable(f"machine {machine.name} does not run", hint="./orlop run ls")
    command = ssh.command(machine.path, port, words)
    os.execvp(command[0], command)
