"""`orlop passwd`: the hash of a password, for the configuration. Nothing is changed."""

from __future__ import annotations

import os
import sys

from orlop.cli.arguments import Option
from orlop.lib.errors import InvalidArgument, Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "passwd [OPTION...]"
OPTIONS = (Option("json", help="as a JSON object"),)
WORDS = (0, 0)
MORE = """\
Asks for the password twice, or reads one line where there is no terminal, and
prints its hash. Passwords are set in the configuration: users[].hashed_passwd."""
MAX_LENGTH = 256


def run(arguments: Arguments) -> int:
    password = _ask() if os.isatty(0) else sys.stdin.readline().rstrip("\n")
    if not password or len(password) > MAX_LENGTH:
        raise InvalidArgument("no password, or one that is too long")
    from orlop.lib.passwords import hash_password

    try:
        hashed = hash_password(password)
    except OSError as error:
        raise Unavailable(f"cannot hash: {error}") from None
    if arguments.flag("json"):
        import json

        hashed = json.dumps({"hashed_passwd": hashed})
    print(hashed)
    return 0


def _ask() -> str:
    import getpass

    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise InvalidArgument("the two are not the same")
    return password
