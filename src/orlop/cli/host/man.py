"""`./orlop man`: writes docs/man/orlop*.1 from the table of commands."""

import sys
from pathlib import Path

from orlop.cli import manual
from orlop.cli.commands import COMMANDS, find

DIRECTORY = Path(__file__).resolve().parents[4] / "docs" / "man"


def pages() -> dict[str, str]:
    """The files that belong into docs/man: name and content."""
    found = [manual.overview()]
    for name in COMMANDS:
        command = find(name)
        assert command is not None
        found.append(manual.page_of(name, command))
    return {f"{page.name}.1": manual.roff(page) for page in found}


def main(argv: list[str]) -> int:
    if argv:
        print("usage: ./orlop man", file=sys.stderr)
        return 2
    wanted = pages()
    for stale in {path.name for path in DIRECTORY.glob("orlop*.1")} - set(wanted):
        (DIRECTORY / stale).unlink()
    for name, text in wanted.items():
        (DIRECTORY / name).write_text(text)
    return 0
