"""The `orlop` command on the machine: finds the command by its first word and runs it.

Exit status: 0, 1 failed, 2 wrong command line; `exec` gives the program's own, or as Docker 125
(the engine failed), 126 (the program cannot be run), 127 (there is no such program).

Everything the command line imports is chosen for its start-up time: see `cli.client`.
"""

from __future__ import annotations

import sys

from orlop.cli.arguments import Option, TooFewWords, UsageError, parse_arguments
from orlop.cli.commands import COMMANDS, LEADING_WORDS, PROGRAMS, find
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.cli.commands import Command

FAILED_STATUS = 1
USAGE_STATUS = 2
BUG_STATUS = 70
BROKEN_PIPE_STATUS = 141
INTERRUPTED_STATUS = 130

HELP = Option("help", "h", help="how to use this command")


def main(argv: Sequence[str]) -> int:
    """Run the command that *argv* names and return its exit status; never raises."""
    name, rest = (argv[0], argv[1:]) if argv else ("help", [])
    if name == "docker":
        from orlop.cli.docker.main import main as docker

        return docker(rest)
    if name in ("--help", "-h"):
        name = "help"
    if name in ("--version", "-v"):
        name = "version"
    try:
        command = find(name)
        if command is None:
            report(unknown(name))
            return USAGE_STATUS
        status = run(name, command, rest)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
    except BrokenPipeError:
        return _reader_is_gone()
    except Exception as error:  # noqa: BLE001 - the top: what nobody expected becomes one sentence
        report(OrlopError(f"{type(error).__name__}: {error}", hint="this is a fault of Orlop"))
        return BUG_STATUS


def run(name: str, command: Command, argv: Sequence[str]) -> int:
    """Run *command* with *argv*; an error that is meant for people is reported here, once."""
    try:
        arguments = parse_arguments(
            argv,
            (HELP, *command.OPTIONS),  # `shutdown -h` is another thing
            words=command.WORDS,
            leading=name in LEADING_WORDS,
            program=name in PROGRAMS,
        )
        if arguments.flag("help"):
            from orlop.cli import help_command

            print(help_command.describe(name, command))
            return 0
        return command.run(arguments)
    except UsageError as error:
        usage = command.USAGE if isinstance(error, TooFewWords) else f"{name} --help"
        report(error, hint=f"orlop {usage}")
        return USAGE_STATUS
    except OrlopError as error:
        report(error)
        return FAILED_STATUS


def report(error: OrlopError, *, hint: str | None = None) -> None:
    """Say on stderr what failed, then what to try."""
    print(f"orlop: {error.message}", file=sys.stderr)
    hint = error.hint or hint
    if hint:
        print(f"  ({hint if hint.endswith('?') else f'try: {hint}'})", file=sys.stderr)


def unknown(name: str) -> UsageError:
    """The error for a word that is no command, with the nearest one as its hint."""
    near = [known for known in COMMANDS if known.startswith(name[:2])] if len(name) > 1 else []
    return UsageError(
        f"there is no command {name!r}", hint=f"orlop {near[0]}" if near else "orlop help"
    )


def _reader_is_gone() -> int:
    """End as a program does whose output nobody reads, without a second error at exit."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE_STATUS
