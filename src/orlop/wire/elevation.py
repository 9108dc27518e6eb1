"""What `sudo` and the process that runs commands for it say to each other: lines of JSON. Pure.

The first line is the request, with the descriptors of the three standard streams beside it:
`command` (a list of words, empty for a shell), `login`, `cwd`, `term`, `terminals` (which of the
streams are a terminal), `size` (columns, rows), `list` (only say what may be run), `ask` (whether
somebody is there to type a password), `record` (nothing is run: a file for a recorded session is
wanted, and the answer has a pipe beside it). Answers are `ask` (a prompt, to be answered with
`answer`), `terminal` (the other end of the command's terminal comes beside it), `text` (for the
user), and last `exit` (the status).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from orlop.lib.errors import InvalidArgument

SOCKET = "/run/elevate/socket"
MAX_REQUEST_BYTES = 128 << 10
MAX_LINE_BYTES = 4096
MAX_WORDS = 4096

REFUSED_STATUS, NOT_FOUND_STATUS, CANNOT_RUN_STATUS = 1, 127, 126


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody wants to be run."""

    command: tuple[str, ...]
    login: bool
    cwd: str
    term: str
    terminals: tuple[bool, bool, bool]
    size: tuple[int, int]
    lists: bool
    may_ask: bool
    records: bool = False


def encode(message: dict[str, object]) -> bytes:
    """One line."""
    return json.dumps(message).encode() + b"\n"


def decode(line: bytes) -> dict[str, object]:
    """One line's message.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise InvalidArgument("not a message")
    return message


def parse_request(line: bytes) -> Request:
    """The request in *line*, which may be anything.

    Raises:
        InvalidArgument: it is none.
    """
    message = decode(line)
    command = message.get("command")
    terminals, size = message.get("terminals"), message.get("size")
    if not isinstance(command, list) or len(command) > MAX_WORDS or not all(map(_is_word, command)):
        raise InvalidArgument("no command")
    if not isinstance(terminals, list) or len(terminals) != 3:
        raise InvalidArgument("no streams")
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_size, size)):
        raise InvalidArgument("no size")
    cwd, term = str(message.get("cwd")), str(message.get("term"))
    first, second, third = (item is True for item in terminals)
    return Request(
        tuple(command),
        message.get("login") is True,
        cwd if _is_word(cwd) and cwd.startswith("/") else "/",
        term if re.fullmatch(r"[A-Za-z0-9._+-]{1,32}", term) else "dumb",
        (first, second, third),
        (int(size[0]), int(size[1])),
        message.get("list") is True,
        message.get("ask") is True,
        message.get("record") is True,
    )


def _is_word(value: object) -> bool:
    """Whether *value* can be an argument of a program."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10000


def show(command: tuple[str, ...], limit: int = 800) -> str:
    """*command* on one line of a log, whatever is in it."""
    words = [
        word if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII) else ascii(word) for word in command
    ]
    text = " ".join(words)
    return text if len(text) <= limit else f"{text[:limit]}..."
