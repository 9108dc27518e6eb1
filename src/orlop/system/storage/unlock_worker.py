"""`worker unlock`: asks on the console for the emergency shell's password; status 0 if right."""

from __future__ import annotations

import fcntl
import termios

from orlop.lib.password_hash import ask_until_right
from orlop.system.recovery import lock_of_emergency

ATTEMPTS, PAUSE_S = 3, 2.0
WRONG_STATUS = 1


def main(argv: list[str]) -> int:
    """*argv* is empty."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    hashed = lock_of_emergency()
    if not hashed or ask_until_right(
        hashed, "Recovery password: ", attempts=ATTEMPTS, pause_s=PAUSE_S
    ):
        return 0
    return WRONG_STATUS
