"""`docker system dial-stdio`: what `docker -H ssh://root@HOST` runs at this end.

A pipe between the SSH connection and the engine's socket.
"""

from __future__ import annotations

import os

from orlop.cli import client
from orlop.cli.docker.command import Command
from orlop.cli.relay import relay, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session


def run(session: Session, values: Values) -> int:
    path = session.client.path
    if session.is_default and not os.path.exists(path):
        # A machine without an engine of the user's: the system's own is what there is to look at.
        path = client.SOCKET_PATH
    return dial_stdio(path)


def dial_stdio(path: str, stdin: int = 0, stdout: int = 1) -> int:
    """Connect *stdin* and *stdout* with the engine's socket until the engine has ended."""
    connection = client.connect(path)
    try:
        relay(connection, stdin, stdout, lambda data: write_all(stdout, data))
    finally:
        connection.close()
    return 0


COMMANDS = {"system dial-stdio": Command(run, "")}
