"""`orlop help`: the list of commands, or how to use one."""

from __future__ import annotations

from orlop.cli.arguments import Option, UsageError
from orlop.cli.commands import COMMANDS, find, verbs_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments
    from orlop.cli.commands import Command

USAGE = "help [COMMAND]"
OPTIONS: tuple[Option, ...] = ()
WORDS = (0, 1)
COMPLETES = "commands"

INDENT = "  "


def run(arguments: Arguments) -> int:
    if arguments.words:
        name = arguments.words[0]
        command = find(name)
        if command is None:
            raise UsageError(f"there is no command {name!r}", hint="orlop help")
        print(describe(name, command))
    else:
        print(overview())
    return 0


def overview() -> str:
    """All commands with a line each."""
    width = max(map(len, COMMANDS))
    lines = ["usage: orlop COMMAND [OPTION...]", ""]
    lines += [f"{INDENT}{name.ljust(width)}  {line}" for name, (_, line) in COMMANDS.items()]
    lines += [
        "",
        "`orlop COMMAND --help` says how to use one, `orlop man COMMAND` all of it;",
        "--json gives what programs can read.",
        "From elsewhere: docker -H ssh://root@ADDRESS ps",
    ]
    return "\n".join(lines)


def describe(name: str, command: Command) -> str:
    """How to use *command*, and its options."""
    lines = [f"usage: orlop {command.USAGE}"]
    if name in COMMANDS:
        lines += ["", f"{INDENT}{COMMANDS[name][1]}"]
    if verbs := verbs_of(command):
        width = max(map(len, verbs))
        lines += ["", *(f"{INDENT}{verb.ljust(width)}  {what}" for verb, what in verbs.items())]
    if more := getattr(command, "MORE", ""):
        lines += ["", more]
    if command.OPTIONS:
        width = max(len(option.spelled()) for option in command.OPTIONS)
        lines.append("")
        lines += [
            f"{INDENT}{option.spelled().ljust(width)}  {option.help}" for option in command.OPTIONS
        ]
    return "\n".join(lines)
