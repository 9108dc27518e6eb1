"""One engine at a time has a bridge, and the nftables table that goes with it.

Two would write over each other's rules, so that neither's published ports led anywhere, and give
out the same addresses. A lock on a file says which engine it is; it goes with the process that
holds it. Engines that do not share DIRECTORY are not told apart, nor is one that cannot write
there, as on the machine, where there is no second one.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from orlop.lib.errors import Conflict

log = logging.getLogger(__name__)

DIRECTORY = Path("/run/orlop")
NAMESPACE = "/proc/self/ns/net"


class Claims:
    """The bridges of this network namespace that this process has."""

    def __init__(self) -> None:
        self._held: dict[str, int] = {}

    def take(self, bridge: str) -> None:
        """Have *bridge*. Where there can be no file for it, nobody is kept out.

        Raises:
            Conflict: another engine has it.
        """
        if bridge in self._held:
            return
        try:
            path = DIRECTORY / f"bridge-{os.stat(NAMESPACE).st_ino}-{bridge}.lock"
            DIRECTORY.mkdir(parents=True, exist_ok=True, mode=0o755)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.debug("no lock for the bridge %s: %s", bridge, error)
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise Conflict(
                f"another engine has the bridge {bridge} and the rules for it: each needs one of "
                "its own, with --bridge"
            ) from error
        self._held[bridge] = descriptor

    def close(self) -> None:
        """Let go of all."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()
