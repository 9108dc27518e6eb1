"""The keys of an encrypted state for `orlop install`: asked for, read; the one for recovery made.

They are in memory and in the request, and in no word of a command line.
"""

from __future__ import annotations

import binascii
import os
import sys

from orlop.cli.answers import Object, text_of
from orlop.cli.arguments import UsageError
from orlop.lib.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

KINDS = ("passphrase", "keyfile", "tpm")
MAX_BYTES = 512
LETTERS = "cbdefghijklnrtuv"
"""Those that most keyboards have in the same place, as systemd's recovery keys."""
GROUPS, GROUP_LETTERS = 8, 5


def complete(request: Object, arguments: Arguments | None) -> str:
    """Add the keys that *request* needs; the one for recovery, that has been made, or nothing.

    Raises:
        UsageError, InvalidArgument, NotFound: there is no such way, or no such key.
    """
    kind = text_of(request, "encrypt")
    if kind and kind not in KINDS:
        raise UsageError(f"--encrypt wants {', '.join(KINDS)}, not {kind!r}")
    if file := arguments.value("passphrase-file") if arguments else "":
        request["key"] = _base64(_read(file))
    elif kind == KINDS[0]:
        request["key"] = _base64(ask_twice())
    if not kind:
        return ""
    key = make()
    request["recovery_key"] = _base64(key.encode())
    return key


def make() -> str:
    """A new recovery key: 160 random bits as letters."""
    return "".join(LETTERS[byte % len(LETTERS)] for byte in os.urandom(GROUPS * GROUP_LETTERS))


def text(key: str) -> str:
    """*key* for people."""
    size = GROUP_LETTERS
    groups = " ".join(key[at : at + size] for at in range(0, len(key), size))
    return (
        f"\nThe recovery key opens the state when nothing else does. It is shown only now:\n\n"
        f"    {groups}\n\nIt is typed without the blanks.\n"
    )


def ask_twice() -> bytes:
    """A passphrase, unseen.

    Raises:
        UsageError: there is nobody to ask.
    """
    from orlop.lib.password_hash import ask

    if not os.isatty(0):
        raise UsageError("--passphrase-file FILE is needed where nobody can be asked")
    while True:
        found = ask("Passphrase of the state: ")
        if not found:
            print("It cannot be empty.")
        elif ask("Once more: ") == found:
            return found.encode()
        else:
            print("The two are different.")


def ask_once(device: str) -> bytes:
    """What opens the state that is on *device*."""
    from orlop.lib.password_hash import ask

    return ask(f"Passphrase of the state on {device}: ").encode()


def _base64(key: bytes) -> str:
    if not 0 < len(key) <= MAX_BYTES or b"\n" in key:
        raise InvalidArgument(f"a passphrase is one line of at most {MAX_BYTES} bytes")
    return binascii.b2a_base64(key, newline=False).decode()


def add(request: Object, key: bytes) -> None:
    """Let *key* be what opens the state."""
    request["key"] = _base64(key)


def _read(file: str) -> bytes:
    """The content of *file* without the end of its only line."""
    try:
        if file == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 2)
        else:
            with open(os.path.expanduser(file), "rb") as stream:
                data = stream.read(MAX_BYTES + 2)
    except OSError as error:
        raise NotFound(f"cannot read {file}: {error.strerror}") from None
    return data.removesuffix(b"\n")
