"""`orlop boot`: when each stage of the boot was reached."""

from __future__ import annotations

from orlop.cli.answers import get_object, number_of, objects, text_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.text import columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "boot [--json]"
OPTIONS = (Option("json", help="as the engine's API gives it"),)
WORDS = (0, 0)


def run(arguments: Arguments) -> int:
    answer = get_object(Client(), "/orlop/boot")
    if arguments.flag("json"):
        print(encode(answer))
        return 0
    stages = objects(answer.get("stages"), "list of stages")
    rows, before_s = [], 0.0
    for stage in stages:
        reached_s = number_of(stage, "uptime_s")
        rows.append((text_of(stage, "name"), f"{reached_s:.2f} s", f"+{reached_s - before_s:.2f}"))
        before_s = reached_s
    print(columns(("STAGE", "REACHED", "AFTER"), rows))
    return 0
