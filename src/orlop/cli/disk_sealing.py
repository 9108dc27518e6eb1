"""`orlop disks seal`: what is asked, and what has come of it."""

from __future__ import annotations

import binascii
import os
import sys

from orlop.cli.answers import Object, member
from orlop.cli.arguments import UsageError
from orlop.lib.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

MAX_KEY_BYTES = 8192


def request_of(arguments: Arguments, devices: list[str]) -> Object:
    """What the command line asks for, as the API has it; asks for the passphrase.

    Raises:
        UsageError, InvalidArgument, NotFound: it is no such request, or there is no such key.
    """
    found: Object = {"device": device} if (device := next(iter(devices), "")) else {}
    if arguments.flag("remove"):
        return {**found, "remove": True}
    if arguments.flag("pcrs"):
        numbers = arguments.value("pcrs").split(",")
        if not all(number.isascii() and number.isdigit() for number in numbers):
            raise UsageError("--pcrs wants numbers: 7, or 4,7,11")
        found["pcrs"] = [int(number) for number in numbers]
    file = arguments.value("key-file")
    key = _read(file) if file else _ask(device or "the state's disk").encode()
    if not 0 < len(key) <= MAX_KEY_BYTES:
        raise InvalidArgument(f"a key has 1 to {MAX_KEY_BYTES} bytes, this one {len(key)}")
    return {**found, "key": binascii.b2a_base64(key, newline=False).decode()}


def _read(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read(MAX_KEY_BYTES + 1)
    try:
        with open(file, "rb") as stream:
            return stream.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise NotFound(f"{file}: {error.strerror}") from None


def _ask(what: str) -> str:
    if not os.isatty(0):
        return sys.stdin.readline().rstrip("\n")
    import getpass

    return getpass.getpass(f"Passphrase of {what}: ")


def text(answer: object) -> str:
    """What has been done."""
    device = member(answer, "device")
    if member(answer, "removed") is not None:
        return f"the TPM does not open {device} any more"
    pcrs = member(answer, "pcrs")
    assert isinstance(pcrs, list)
    signed = " and the image is signed with the same key" if member(answer, "signed") else ""
    return (
        f"the TPM opens {device} from the next boot on, while PCR {', '.join(map(str, pcrs))} "
        f"stays as it is{signed}; its other keys go on to work"
    )
