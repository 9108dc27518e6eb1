"""`orlop recovery`: the password of recovery mode."""

from __future__ import annotations

import os

from orlop.cli.answers import Object
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.lib.errors import InvalidArgument
from orlop.lib.password_hash import MAX_PASSWORD_BYTES, ask, ask_until_right, hash_password

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "recovery passwd | unset | hash"
OPTIONS: tuple[Option, ...] = ()
WORDS = (1, 1)

KEY = "orlop.recovery.password"
LOCK = "/run/orlop/etc/recovery"
ATTEMPTS, PAUSE_S = 3, 2.0
WRONG_STATUS = 1
SHELL = "/bin/sh"


def run(arguments: Arguments) -> int:
    match arguments.words:
        case ["passwd"]:
            _change({"verb": "set", "key": KEY, "text": hash_password(_new_password())})
            print("recovery mode asks for this password from the next boot on")
        case ["unset"]:
            _change({"verb": "unset", "key": KEY})
            print("recovery mode is open to whoever is at the console")
        case ["hash"]:
            print(hash_password(_new_password()))
        case ["unlock"]:
            return unlock(arguments.program)
        case _:
            raise UsageError("recovery passwd, unset or hash")
    return 0


def _change(operation: Object) -> None:
    Client().post("/orlop/config/change", operation)


def _new_password() -> str:
    """What a person types twice, or a program once.

    Raises:
        InvalidArgument: it is empty, too long, or was typed differently.
    """
    try:
        password = ask("New recovery password: ")
        again = ask("Once more: ") if os.isatty(0) else password
    except EOFError:
        raise InvalidArgument("there is no password") from None
    if not password or len(password.encode()) > MAX_PASSWORD_BYTES:
        raise InvalidArgument(f"a password has 1 to {MAX_PASSWORD_BYTES} bytes")
    if password != again:
        raise InvalidArgument("the two are different")
    return password


def unlock(program: list[str]) -> int:
    """Ask for the password, then become the shell; without a lock at once."""
    try:
        with open(LOCK, encoding="ascii") as stream:
            hashed = stream.read().strip()
    except FileNotFoundError:
        hashed = ""
    if hashed and not ask_until_right(
        hashed, "Recovery password: ", attempts=ATTEMPTS, pause_s=PAUSE_S
    ):
        return WRONG_STATUS
    return os.execv(SHELL, [SHELL, *(program or ["-l"])])
