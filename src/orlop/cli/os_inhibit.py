"""`orlop os inhibit -- PROGRAM`: while the program runs, no update reboots the machine."""

from __future__ import annotations

import os
import select
import signal
import time

from orlop.cli.arguments import UsageError
from orlop.lib.errors import NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

    from orlop.cli.arguments import Arguments
    from orlop.cli.client import Client

LOOK_S = 0.2


def inhibit(client: Client, arguments: Arguments) -> int:
    """Run the program; its exit status, 128 and more for a signal."""
    program = arguments.program
    if not program:
        raise UsageError("orlop os inhibit [--reason TEXT] -- PROGRAM [ARGUMENT...]")
    reason = arguments.value("reason")
    held: _socket.socket | None = _hold(client, reason)
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
            if held is None:
                time.sleep(LOOK_S)
                held = _hold_again(client, reason)
            elif select.select([held], [], [], LOOK_S)[0] and _is_cut(held):
                held.close()
                held = None
    finally:
        if held is not None:
            held.close()
        signal.signal(signal.SIGINT, before)


def _hold(client: Client, reason: str) -> _socket.socket:
    """What holds it as long as it is open."""
    return client.request("POST", "/orlop/os/inhibit", {"reason": reason}).detach()[0]


def _is_cut(held: _socket.socket) -> bool:
    try:
        return not held.recv(4096)
    except ConnectionError:
        return True


def _hold_again(client: Client, reason: str) -> _socket.socket | None:
    """The engine was replaced while it runs; None if it does not answer yet. The program goes on in
    any case."""
    try:
        return _hold(client, reason)
    except OrlopError:
        return None
