"""`orlop version`: the engine's and the kernel's; also when the engine does not answer."""

from __future__ import annotations

from orlop import __version__
from orlop.cli.answers import get_object, text_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.json_text import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "version [--json]"
OPTIONS = (Option("json", help="as the engine's API gives it"),)
WORDS = (0, 0)


def run(arguments: Arguments) -> int:
    if arguments.flag("json"):
        print(encode(Client().get("/version")))
        return 0
    print(f"Orlop {__version__}")
    answer = get_object(Client(), "/version")
    for label, key in (
        ("engine", "Version"),
        ("api", "ApiVersion"),
        ("kernel", "KernelVersion"),
        ("machine", "Arch"),
    ):
        print(f"  {label:<8} {text_of(answer, key)}")
    return 0
