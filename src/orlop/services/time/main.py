"""The program of the `time` service: writes chronyd's configuration, then becomes chronyd."""

import os
import time

from orlop.services.settings import read_settings
from orlop.services.time.settings import (
    COMMAND_DIRECTORY,
    DIRECTORY,
    chrony_files,
    has_sources,
)

CHRONYD = "/usr/sbin/chronyd"
LEASE_PATH = "/run/orlop/network/ntp-servers"
"""The network service writes it with each lease; empty if the lease names no server."""

LEASE_WAIT_S = 15.0
"""For a first lease at boot. Nobody else waits for this service, and without a lease there is no
time."""


def wait_for_lease(path: str = LEASE_PATH, timeout_s: float = LEASE_WAIT_S) -> list[str]:
    """The time servers that a lease named; none if none did, or none came in time."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            with open(path, encoding="ascii", errors="replace") as stream:
                return stream.read(4096).split()[:8]
        except OSError:
            if time.monotonic() >= deadline_s:
                return []
        time.sleep(0.25)


def chronyd_arguments(directory: str = DIRECTORY) -> list[str]:
    """In the foreground, not insisting on root (the container gives the one capability it
    needs)."""
    return [CHRONYD, "-U", "-n", "-u", "chrony", "-f", f"{directory}/chrony.conf"]


def main(argv: list[str]) -> int:
    """Never returns: the process becomes chronyd.

    It is restarted when the configuration changes.
    """
    settings = read_settings()
    files = chrony_files(settings, [] if has_sources(settings) else wait_for_lease())
    os.umask(0o077)
    os.makedirs(COMMAND_DIRECTORY, mode=0o700, exist_ok=True)
    for name, content in (("chrony.conf", files.configuration), ("keys", files.keys)):
        with open(f"{DIRECTORY}/{name}", "w", encoding="ascii") as stream:
            stream.write(content)
    arguments = chronyd_arguments()
    os.execve(arguments[0], arguments, {"PATH": "/usr/sbin:/usr/bin"})
