"""`orlop os inhibit -- PROGRAM`: while the program runs, no update reboots the machine."""

from __future__ import annotations

import os
import select
import signal
import time

from orlop.cli.arguments import UsageError
from orlop.lib.errors import NotFound, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from orlop.cli.arguments import Arguments
    from orlop.cli.client import Client

LOOK_S = 0.2
AGAIN_S = 60.0
"""So long an engine that is replaced may take to answer again."""


def inhibit(client: Client, arguments: Arguments) -> int:
    """Run the program; its exit status, 128 and more for a signal."""
    program = arguments.program
    if not program:
        raise UsageError("orlop os inhibit [--reason TEXT] -- PROGRAM [ARGUMENT...]")
    reason = arguments.value("reason")
    held = _hold(client, reason)
    try:
        pid = os.posix_spawnp(program[0], program, os.environ)
    except OSError as error:
        raise NotFound(f"cannot run {program[0]}: {error.strerror}") from None
    # The terminal sends it to the program as well.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if select.select([held], [], [], LOOK_S)[0] and not held.recv(4096):
                held.close()
                held = _hold_again(client, reason)
    finally:
        held.close()
        signal.signal(signal.SIGINT, before)


def _hold(client: Client, reason: str) -> _socket.socket:
    """What holds it as long as it is open."""
    return client.request("POST", "/orlop/os/inhibit", {"reason": reason}).detach()[0]


def _hold_again(client: Client, reason: str) -> _socket.socket:
    """The engine was replaced while it runs."""
    until_s = time.monotonic() + AGAIN_S
    while True:
        try:
            return _hold(client, reason)
        except Unavailable:
            if time.monotonic() > until_s:
                raise
            time.sleep(LOOK_S)
