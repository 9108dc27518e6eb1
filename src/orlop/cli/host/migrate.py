"""`./orlop migrate`: the same as on a machine, for who has none yet."""

import sys

from orlop.cli import migrate as command
from orlop.cli.arguments import Option, UsageError, parse_arguments
from orlop.cli.config import read_document
from orlop.wire.config.migrate import migrate

OPTIONS = (*command.OPTIONS, Option("help", "h", help="this text"))


def main(argv: list[str]) -> int:
    try:
        arguments = parse_arguments(argv, OPTIONS, words=command.WORDS)
    except UsageError as error:
        print(f"orlop: {error}\n{_help()}", file=sys.stderr)
        return 2
    if arguments.flag("help"):
        print(_help())
        return 0
    name, text = read_document(arguments.words[0])
    found = migrate(name, text.encode(), arguments.value("kernel"))
    return command.show({**found.answer()}, arguments)


def _help() -> str:
    options = [f"  {option.spelled():<24} {option.help}" for option in OPTIONS]
    return "\n".join([f"usage: ./orlop {command.USAGE}", command.MORE, *options])
