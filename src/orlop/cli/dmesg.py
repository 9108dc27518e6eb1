"""`orlop dmesg`: the kernel's messages since it started, as far as its buffer still has them."""

from __future__ import annotations

import os

from orlop.cli.arguments import Option
from orlop.cli.json_text import encode
from orlop.cli.text import printable
from orlop.lib.errors import Forbidden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.cli.arguments import Arguments

USAGE = "dmesg [--level N] [--json]"
OPTIONS = (
    Option("level", "l", value="N", help="only what is as grave as N or graver: 0 to 7"),
    Option("json", help="one object for each message"),
)
WORDS = (0, 0)

KMSG_PATH = "/dev/kmsg"
RECORD_BYTES = 8192
"""One read gives one record, and none is longer. Source: Documentation/ABI/testing/dev-kmsg."""
ALL_LEVELS = 7


def run(arguments: Arguments) -> int:
    level = arguments.number("level", ALL_LEVELS)
    messages = [parsed for record in records() if (parsed := parse_record(record))]
    chosen = [message for message in messages if message[0] <= level]
    if arguments.flag("json"):
        keys = ("level", "uptime_s", "message")
        print(encode([dict(zip(keys, message, strict=True)) for message in chosen]))
    else:
        for _, uptime_s, text in chosen:
            print(f"[{uptime_s:12.6f}] {printable(text)}")
    return 0


def records(path: str = KMSG_PATH) -> Iterator[bytes]:
    """The records in the kernel's buffer, from the oldest.

    Raises:
        Forbidden: this process may not read them.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Forbidden(
            f"cannot read the kernel's messages: {error.strerror}", hint="orlop logs has them too"
        ) from None
    try:
        while record := _next_record(descriptor):
            yield record
    finally:
        os.close(descriptor)


def _next_record(descriptor: int) -> bytes:
    """The next record; nothing when all are read."""
    while True:
        try:
            return os.read(descriptor, RECORD_BYTES)
        except BlockingIOError:
            return b""
        except BrokenPipeError:
            continue  # overwritten before it was read; the kernel goes on with the oldest it has


def parse_record(record: bytes) -> tuple[int, float, str] | None:
    """A record's level, seconds since the kernel started, and text; None if it is no record."""
    prefix, semicolon, rest = record.decode(errors="replace").partition(";")
    fields = prefix.split(",")
    if not semicolon or len(fields) < 3 or not (fields[0].isdigit() and fields[2].isdigit()):
        return None
    # The facility is above the lowest three bits.
    return int(fields[0]) & 7, int(fields[2]) / 1e6, rest.partition("\n")[0]
