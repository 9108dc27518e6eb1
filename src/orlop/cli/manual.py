"""Manual pages of the commands, from the table that also parses them. Pure.

A page is a list of sections; `plain` is what `orlop man` shows on a machine without man(1), `roff`
is what docs/man holds. `./orlop man` writes these.
"""

from __future__ import annotations

from orlop.cli.commands import COMMANDS, verbs_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.commands import Command

INDENT = 7
WIDTH = 78

STATUS = (
    ("0", "done"),
    ("1", "failed; the standard error says what, and what to try"),
    ("2", "the command line is wrong"),
    ("70", "a fault of Orlop's"),
    ("130", "interrupted"),
)
DESCRIPTION = (
    "Shows and steers a machine that runs Orlop. It talks to PID 1 over /run/orlop/system.sock, "
    "which root may use. The containers of the machine's user are those of docker(1)."
)

type Body = str | tuple[tuple[str, str], ...]
"""Paragraphs with empty lines between them, in which lines that begin with blanks are kept; or
terms, each with what it is."""


class Page:
    """A manual page: *name* as `orlop-ps`, its line for whatis(1), and its sections in order."""

    __slots__ = ("name", "sections", "summary")

    def __init__(self, name: str, summary: str, sections: list[tuple[str, Body]]) -> None:
        self.name = name
        self.summary = summary
        self.sections = sections


def overview() -> Page:
    """orlop(1): all commands."""
    rows = tuple((name, line) for name, (_, line) in COMMANDS.items())
    sections: list[tuple[str, Body]] = [
        ("SYNOPSIS", "orlop COMMAND [OPTION...]"),
        ("DESCRIPTION", DESCRIPTION),
        ("COMMANDS", rows),
        ("EXIT STATUS", STATUS),
        ("SEE ALSO", "orlop-config(5), and a page for each command: orlop-status(1), orlop-ps(1)…"),
    ]
    return Page("orlop", "look after a machine that runs Orlop", sections)


def page_of(name: str, command: Command) -> Page:
    """The page of *command*, which is called *name*."""
    summary = COMMANDS[name][1]
    sections: list[tuple[str, Body]] = [("SYNOPSIS", f"orlop {command.USAGE}")]
    if verbs := verbs_of(command):
        sections.append(("VERBS", tuple(verbs.items())))
    if more := getattr(command, "MORE", ""):
        sections.append(("DESCRIPTION", str(more)))
    options = tuple((option.spelled().strip(), option.help) for option in command.OPTIONS)
    sections.append(("OPTIONS", (*options, ("-h, --help", "how to use this command"))))
    sections += [("EXIT STATUS", STATUS), ("SEE ALSO", "orlop(1)")]
    return Page(f"orlop-{name}", summary, sections)


def plain(page: Page) -> str:
    """The page for a terminal."""
    lines = ["NAME", _indented(f"{page.name} - {page.summary}")]
    for title, body in page.sections:
        lines += ["", title]
        if isinstance(body, str):
            for number, (is_kept, text) in enumerate(_paragraphs(body)):
                lines += [""] if number else []
                lines += _kept(text) if is_kept else [_indented(text)]
            continue
        for term, what in body:
            lines += [" " * INDENT + term, _indented(what, INDENT + 4)]
    return "\n".join(line.rstrip() for line in lines)


def _paragraphs(body: str) -> list[tuple[bool, str]]:
    """The paragraphs of *body*, each with whether its lines are kept."""
    return [(text.startswith(" "), text) for text in body.split("\n\n")]


def _kept(text: str) -> list[str]:
    """The lines of *text* as they are, as far to the right as they fit."""
    rows = [row.removeprefix("  ") for row in text.splitlines()]
    indent = max(0, min(INDENT, WIDTH - max(map(len, rows))))
    return [" " * indent + row for row in rows]


def _indented(text: str, indent: int = INDENT) -> str:
    """*text* broken into lines."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > WIDTH - indent:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".lstrip()
    return "\n".join(" " * indent + part for part in (*lines, line))


def roff(page: Page) -> str:
    """The page for man(1)."""
    lines = [f'.TH {page.name.upper()} 1 "" Orlop "Orlop commands"', ".SH NAME"]
    lines.append(f"{_escaped(page.name)} \\- {_escaped(page.summary)}")
    for title, body in page.sections:
        lines.append(f".SH {title}")
        if isinstance(body, str):
            for number, (is_kept, text) in enumerate(_paragraphs(body)):
                lines += [".PP"] if number else []
                rows = [_escaped(line) for line in text.splitlines()]
                lines += [".nf", *rows, ".fi"] if is_kept else rows
            continue
        for term, what in body:
            lines += [".TP", f".B {_escaped(term)}", _escaped(what)]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
