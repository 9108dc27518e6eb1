"""`orlop dmesg`: the kernel's messages since it started, as far as its buffer still has them.

Through the engine, because a console's container need not be allowed to read them itself.
"""

from __future__ import annotations

from orlop.cli.answers import get_object, number_of, objects, text_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "dmesg [--level N] [--json]"
OPTIONS = (
    Option("level", "l", value="N", help="only what is as grave as N or graver: 0 to 7"),
    Option("json", help="one object for each message"),
)
WORDS = (0, 0)

ALL_LEVELS = 7


def run(arguments: Arguments) -> int:
    level = arguments.number("level", ALL_LEVELS)
    answer = get_object(Client(), "/orlop/dmesg")
    messages = [
        message
        for message in objects(answer.get("messages"), "kernel log")
        if number_of(message, "level") <= level
    ]
    if arguments.flag("json"):
        print(encode(messages))
        return 0
    for message in messages:
        print(f"[{number_of(message, 'uptime_s'):12.6f}] {printable(text_of(message, 'text'))}")
    return 0
