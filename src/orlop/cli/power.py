"""What `poweroff`, `reboot`, `halt`, `shutdown` have in common: one request to PID 1."""

from __future__ import annotations

from orlop.cli.arguments import Option
from orlop.cli.client import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

OPTIONS = (Option("force", "f", help="at once: containers are killed and not stopped"),)


def request(verb: str, arguments: Arguments) -> int:
    """Ask the engine to *verb* the machine; it answers before it begins."""
    Client().post(f"/orlop/{verb}" + ("?force=1" if arguments.flag("force") else ""))
    return 0
