"""The worker whose user namespace the engine borrows: `worker userns`. Says so, and waits."""

from __future__ import annotations

import os
import signal

from orlop.lib.linux import end_with_parent


def main(argv: list[str]) -> int:
    """Never returns by itself: the engine ends it."""
    del argv
    os.unshare(os.CLONE_NEWUSER)
    end_with_parent()
    os.write(1, b".")
    signal.pause()
    return 0
