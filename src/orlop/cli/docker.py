"""`docker system dial-stdio`: what `docker -H ssh://root@HOST` runs at this end.

There is no docker client on the machine. This stands in for the one thing a client elsewhere asks
of it, a pipe between its SSH connection and the engine's socket, and says what to use otherwise.
"""

from __future__ import annotations

from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client, connect
from orlop.cli.commands import MANY
from orlop.cli.relay import relay, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "docker system dial-stdio"
OPTIONS: tuple[Option, ...] = ()
WORDS = (1, MANY)


def run(arguments: Arguments) -> int:
    match arguments.words:
        case ["system", "dial-stdio"]:
            return dial_stdio(Client().path)
        case ["version"]:
            version = Client().get("/version")
            print(version.get("Version", "") if isinstance(version, dict) else "")
            return 0
        case _:
            raise UsageError(
                "the docker command is not on this machine, only what other machines need of it",
                hint="orlop help, or from elsewhere docker -H ssh://root@ADDRESS",
            )


def dial_stdio(path: str, stdin: int = 0, stdout: int = 1) -> int:
    """Connect *stdin* and *stdout* with the engine's socket until the engine has ended."""
    connection = connect(path)
    try:
        relay(connection, stdin, stdout, lambda data: write_all(stdout, data))
    finally:
        connection.close()
    return 0
