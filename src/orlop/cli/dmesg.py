"""`orlop dmesg`: the kernel's messages since it started, as far as its buffer still has them.

Through the engine, because a console's container need not be allowed to read them itself; only
following them reads /dev/kmsg.
"""

from __future__ import annotations

import os
import time

from orlop.cli.answers import Object, get_object, number_of, objects, text_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.json_text import compact, encode
from orlop.cli.log_lines import LEVELS, level_number
from orlop.cli.text import printable
from orlop.lib.errors import Forbidden

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.cli.arguments import Arguments

USAGE = "dmesg [--follow] [--level LEVEL] [--time] [--json]"
OPTIONS = (
    Option("follow", "f", help="go on with what comes from now on"),
    Option("level", "l", value="LEVEL", help="only as grave or graver: 0 to 7, err, warning"),
    Option("time", "T", help="when, instead of how long after the boot"),
    Option("decode", "x", help="each message with its level"),
    Option("json", help="an object for each message"),
)
WORDS = (0, 0)
MORE = """\
Following, --json writes one object to a line. The members are level (0 to 7),
uptime_s (seconds since the boot) and text."""

KMSG = "/dev/kmsg"
ALL_LEVELS = "7"


def run(arguments: Arguments) -> int:
    level = level_number(arguments.value("level", ALL_LEVELS))
    follow, as_json = arguments.flag("follow"), arguments.flag("json")
    answer = get_object(Client(), "/orlop/dmesg")
    messages = [
        message
        for message in objects(answer.get("messages"), "kernel log")
        if number_of(message, "level") <= level
    ]
    lines = _Lines(arguments)
    if as_json and not follow:
        print(encode(messages))
        return 0
    for message in messages:
        print(compact(message) if as_json else lines.of(message))
    if follow:
        for message in following():
            if number_of(message, "level") <= level:
                print(compact(message) if as_json else lines.of(message), flush=True)
    return 0


class _Lines:
    """From a message to its line, as the options want it."""

    def __init__(self, arguments: Arguments) -> None:
        self._decode, self._human = arguments.flag("decode"), arguments.flag("time")
        self._boot_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    def of(self, message: Object) -> str:
        uptime_s = number_of(message, "uptime_s")
        when = f"{uptime_s:12.6f}"
        if self._human:
            moment = time.localtime(self._boot_s + uptime_s)
            when = time.strftime("%Y-%m-%d %H:%M:%S", moment)
        level = f"{LEVELS[int(number_of(message, 'level'))]:<9} " if self._decode else ""
        return f"{level}[{when}] {printable(text_of(message, 'text'))}"


def following(path: str = KMSG) -> Iterator[Object]:
    """What the kernel says from now on.

    Raises:
        Forbidden: this container may not read it.
    """
    from orlop.wire.kmsg import parse_record

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.lseek(descriptor, 0, os.SEEK_END)
    except OSError as error:
        raise Forbidden(f"cannot follow {path}: {error.strerror}", hint="orlop dmesg") from None
    try:
        while True:
            record = _read(descriptor)
            if not record:
                return
            level, uptime_s, text = parse_record(record.decode(errors="replace"))
            yield {"level": level, "uptime_s": uptime_s, "text": text}
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> bytes:
    """The next record; waits for it."""
    from orlop.wire.kmsg import RECORD_BYTES

    while True:
        try:
            return os.read(descriptor, RECORD_BYTES)
        except BrokenPipeError:
            pass  # overwritten before it was read: the next one is the oldest there is
