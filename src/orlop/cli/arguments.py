"""The command line of one command, parsed by a table.

`argparse` would do, but importing it costs more than all the rest of a command (12 ms on a fast
machine, ten times that under emulation). What is here is what the commands need: `--name`,
`--name=value`, `--name value`, `-n`, `-n5`, `-it`, `--`, and an error that names the wrong word.
"""

from __future__ import annotations

from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Parser(Protocol):
        """The words not yet looked at, those that are no options, and what to do with options."""

        rest: list[str]
        words: list[str]

        def take_long(self, word: str) -> None: ...

        def take_short(self, word: str) -> None: ...


class UsageError(OrlopError):
    """The command line is wrong; exit status 2."""


class TooFewWords(UsageError):
    """What is missing is best said by showing how the command is used."""


class Option:
    """One row of a command's table: `--name`, maybe `-short`; `value` names its value in help."""

    __slots__ = ("help", "name", "short", "value")

    def __init__(self, name: str, short: str = "", *, value: str = "", help: str) -> None:  # noqa: A002 - argparse's word
        self.name = name
        self.short = short
        self.value = value
        self.help = help

    def spelled(self) -> str:
        """As help shows it: `-n, --tail N`."""
        short = f"-{self.short}, " if self.short else "    "
        return f"{short}--{self.name}" + (f" {self.value}" if self.value else "")


class Arguments:
    """What a command line says: options by name, and the words beside them."""

    def __init__(
        self,
        values: dict[str, str],
        words: list[str],
        program: list[str] | None = None,
        given: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._values = values
        self._given = given
        self.words = words
        self.program = program or []
        """What follows `--` on the command line of a command that runs a program."""

    def flag(self, name: str) -> bool:
        """Was `--name` given?"""
        return name in self._values

    def value(self, name: str, default: str = "") -> str:
        """The value of `--name`, or *default*."""
        return self._values.get(name, default)

    def every(self, name: str) -> list[str]:
        """The values of `--name`, which may be given several times."""
        return [value for given, value in self._given if given == name]

    def number(self, name: str, default: int) -> int:
        """The value of `--name` as a number that is not negative.

        Raises:
            UsageError: it is something else.
        """
        text = self._values.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit()):
            raise UsageError(f"--{name} wants a number, not {text!r}")
        return int(text)


def parse_arguments(
    argv: Sequence[str],
    options: Sequence[Option],
    *,
    words: tuple[int, int],
    leading: bool = False,
    program: bool = False,
) -> Arguments:
    """Parse *argv* by the table *options*; the number of words must lie in the range *words*.

    With *leading* all from the first word on are words: for `exec`, whose command has options of
    its own. With *program* what follows `--` is the line of a program and counts for no word.

    Raises:
        UsageError: an option that is not in the table, lacks its value or has one too many, or
            the wrong number of words.
    """
    argv, rest = list(argv), []
    if program and "--" in argv:
        at = argv.index("--")
        argv, rest = argv[:at], argv[at + 1 :]
    parser = _Parser(argv, options)
    take_words(parser, leading=leading)
    values = dict(parser.given)
    found = Arguments(values, parser.words, rest, parser.given)
    if "help" in values:
        return found
    least, most = words
    if len(parser.words) < least:
        raise TooFewWords("something is missing on the command line")
    if len(parser.words) > most:
        raise UsageError(f"{parser.words[most]!r} is one word too many")
    return found


def take_words(parser: Parser, *, leading: bool) -> None:
    """Have *parser* take each word of a command line as what it is, as `parse_arguments` says."""
    while parser.rest:
        word = parser.rest.pop(0)
        if word == "--":
            parser.words += parser.rest
            break
        if word.startswith("--"):
            parser.take_long(word)
        elif word.startswith("-") and len(word) > 1:
            parser.take_short(word)
        else:
            parser.words.append(word)
            if leading:
                parser.words += parser.rest
                break


class _Parser:
    def __init__(self, argv: Sequence[str], options: Sequence[Option]) -> None:
        self.rest = list(argv)
        self.given: list[tuple[str, str]] = []
        self.words: list[str] = []
        self._long = {option.name: option for option in options}
        self._short = {option.short: option for option in options if option.short}

    def take_long(self, word: str) -> None:
        name, equals, value = word[2:].partition("=")
        option = self._long.get(name)
        if option is None:
            raise UsageError(f"there is no option --{name}")
        if equals and not option.value:
            raise UsageError(f"--{name} takes no value")
        self.given.append((name, value if equals else self._value_of(option)))

    def take_short(self, word: str) -> None:
        for position, letter in enumerate(word[1:], start=2):
            option = self._short.get(letter)
            if option is None:
                raise UsageError(f"there is no option -{letter}")
            if option.value and word[position:]:
                self.given.append((option.name, word[position:]))
                return
            self.given.append((option.name, self._value_of(option)))

    def _value_of(self, option: Option) -> str:
        if not option.value:
            return ""
        if not self.rest:
            raise UsageError(f"--{option.name} wants a value: {option.value}")
        return self.rest.pop(0)
