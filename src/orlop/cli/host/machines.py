"""What the commands about virtual machines share: where they are, which one is meant, its end."""

import contextlib
import os
import select
import signal
from pathlib import Path

from orlop.lib.errors import InvalidArgument, NotFound, OrlopError
from orlop.vm.directory import MachineDirectory, find_machine, list_machines
from orlop.vm.qemu import QMP_SOCKET
from orlop.vm.qmp import Qmp
from orlop.vm.terminal import Action


def cache_path() -> Path:
    """The cache that the launcher chose."""
    return Path(os.environ.get("ORLOP_CACHE") or Path.home() / ".cache" / "orlop")


def checkout_path() -> Path:
    """The checkout that the launcher belongs to."""
    return Path(os.environ.get("ORLOP_CHECKOUT") or Path(__file__).parents[4])


def press(machine: MachineDirectory, action: Action) -> None:
    """Do what a command key on the console asks for."""
    command = {
        Action.RESET: "system_reset",
        Action.POWER: "system_powerdown",
    }.get(action)
    if command is not None:
        with contextlib.suppress(OrlopError), Qmp(machine.path, QMP_SOCKET) as qmp:
            qmp.execute(command)


def stop(machine: MachineDirectory, *, force: bool) -> bool:
    """Shut *machine* down and wait for it; False if it did not run. *force* pulls the plug."""
    keeper = machine.signal_keeper(signal.SIGQUIT if force else signal.SIGTERM)
    if keeper is None:
        return False
    poller = select.poll()
    poller.register(keeper, select.POLLIN)
    poller.poll()
    os.close(keeper)
    return True


def choose_machine(name: str | None) -> MachineDirectory:
    """The machine called *name*, or the only one that runs.

    Raises:
        NotFound: none of that name. InvalidArgument: none or several run, and none was named.
    """
    cache = cache_path()
    if name is not None:
        return find_machine(cache, name)
    running = [entry for entry in list_machines(cache) if entry.running()]
    if len(running) == 1:
        return running[0]
    if not running:
        raise NotFound("no machine is running", hint="./orlop run --detach")
    names = ", ".join(entry.name for entry in running)
    raise InvalidArgument(f"several machines run: {names}", hint="name one of them")
