"""SSH into a machine on this host: a key of its own, and the client's command lines.

The guest's host key is made at its first boot and is new each time there is no state disk; the
connection never leaves this host's loopback. So host keys are neither checked nor remembered.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from orlop.lib.process import run
from orlop.vm.directory import DOCKER_SOCKET, KEY, SYSTEM_SOCKET

USER = "root"
GUEST_USER_SOCKET = "/run/orlop/docker/docker.sock"
GUEST_SYSTEM_SOCKET = "/run/orlop/system.sock"

_OPTIONS = {
    "StrictHostKeyChecking": "no",
    "UserKnownHostsFile": "/dev/null",
    "IdentitiesOnly": "yes",
    "LogLevel": "ERROR",
    "ConnectTimeout": "10",
}
_FORWARD_OPTIONS = {
    "BatchMode": "yes",
    "ExitOnForwardFailure": "yes",
    "StreamLocalBindUnlink": "yes",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "6",
}


def make_key(directory: Path, comment: str) -> str:
    """Make the key pair of the machine in *directory* and return its public half."""
    key = directory / KEY
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", key], timeout_s=60)
    return key.with_suffix(".pub").read_text()


def command(directory: Path, port: int, words: Sequence[str] = ()) -> list[str]:
    """The command line that logs in, or runs *words* there."""
    return [*_client(directory, port, {}), f"{USER}@127.0.0.1", *words]


def forward_command(directory: Path, port: int) -> list[str]:
    """The command line that brings the guest's APIs to sockets in *directory*.

    `docker.sock` is the user's engine, `system.sock` PID 1.
    """
    words = [*_client(directory, port, _FORWARD_OPTIONS), "-N"]
    for here, there in ((DOCKER_SOCKET, GUEST_USER_SOCKET), (SYSTEM_SOCKET, GUEST_SYSTEM_SOCKET)):
        words += ["-L", f"{directory / here}:{there}"]
    return [*words, f"{USER}@127.0.0.1"]


def short_command(directory: Path, port: int) -> str:
    """The command for a person to paste on the host, without what only scripts need."""
    # The host's own ssh reads the same key; nothing of the tool root is named.
    words = ["ssh", "-i", str(directory / KEY), "-p", str(port)]
    words += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    return shlex.join([*words, f"{USER}@127.0.0.1"])


def _client(directory: Path, port: int, extra: dict[str, str]) -> list[str]:
    words = ["ssh", "-F", "none", "-i", str(directory / KEY), "-p", str(port)]
    for name, value in (_OPTIONS | extra).items():
        words += ["-o", f"{name}={value}"]
    return words
