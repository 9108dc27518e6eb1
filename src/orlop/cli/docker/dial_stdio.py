"""`docker system dial-stdio`: what `docker -H ssh://root@HOST` runs at this end.

A pipe between the SSH connection and the engine's socket.
"""

from __future__ import annotations

from orlop.cli.client import connect
from orlop.cli.docker.command import Command
from orlop.cli.relay import relay, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session


def run(session: Session, values: Values) -> int:
    return dial_stdio(session.client.path)


def dial_stdio(path: str, stdin: int = 0, stdout: int = 1) -> int:
    """Connect *stdin* and *stdout* with the engine's socket until the engine has ended."""
    connection = connect(path)
    try:
        relay(connection, stdin, stdout, lambda data: write_all(stdout, data))
    finally:
        connection.close()
    return 0


COMMANDS = {"system dial-stdio": Command(run, "")}
