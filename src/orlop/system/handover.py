"""What PID 1 takes with it through its own re-execution.

`orlop system reexec` replaces the program of PID 1 in place: the same process, the same children, a
new copy of the code. One JSON document in a memory file carries what cannot be found out again:
the engine's descriptors, the boot's times, the sockets that containers have mounted. The new code
is tried out in a child first (`init --check` imports everything and runs nothing); if that fails,
the old code goes on.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json

RESUME = "--resume="
CHECK = "--check"
MAX_BYTES = 4 << 20


@dataclass(slots=True)
class Handover:
    """Plain values only. Descriptors are numbers, -1 for none."""

    engine: dict[str, Json] = field(default_factory=dict)
    stages: list[tuple[str, float]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    """Services that a person has stopped: they stay so."""
    channel: int = -1
    power_socket: int = -1
    watchdog: int = -1
    reexecutions: int = 0


def store(handover: Handover) -> int:
    """A descriptor, inheritable, that `load` reads after `execve`."""
    descriptor = os.memfd_create("orlop-handover", 0)
    data = json.dumps(asdict(handover)).encode()
    while data:
        data = data[os.write(descriptor, data) :]
    for kept in (handover.channel, handover.power_socket, handover.watchdog):
        if kept >= 0:
            os.set_inheritable(kept, True)
    return descriptor


def take_back(handover: Handover) -> None:
    """There was no `execve`: what is started next does not inherit the descriptors."""
    for kept in (handover.channel, handover.power_socket, handover.watchdog):
        if kept >= 0:
            os.set_inheritable(kept, False)


def load(descriptor: int) -> Handover:
    """Read what `store` wrote, and close the descriptor.

    Raises:
        OSError, ValueError, TypeError: it is not there or not that.
    """
    try:
        data = json.loads(os.pread(descriptor, MAX_BYTES, 0))
    finally:
        os.close(descriptor)
    handover = Handover(**data)
    handover.stages = [(str(name), float(at_s)) for name, at_s in handover.stages]
    take_back(handover)
    return handover


def resume_descriptor(argv: list[str]) -> int | None:
    """The descriptor named on the command line of a re-execution."""
    for word in argv:
        if word.startswith(RESUME) and word[len(RESUME) :].isdecimal():
            return int(word[len(RESUME) :])
    return None
