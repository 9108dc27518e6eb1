"""Flags of docker's commands as rows, and the parser that reads a command line by them.

What is accepted, and what is said when it is not, are those of docker's own command (cobra and
pflag), because scripts use every spelling that it takes: `--name value`, `--name=value`,
`-n value`, `-nvalue`, `-it`, `--flag=false`, `--`.
"""

from __future__ import annotations

from orlop.cli.arguments import take_words
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BOOL, STRING, LIST, STRINGS, INT, COUNT = "", "string", "list", "strings", "int", "uint16"
BYTES, DURATION, DECIMAL, FILTER, MAP = "bytes", "duration", "decimal", "filter", "map"

MANY = 1 << 30
"""For the number of words: as many as one likes."""

_MANY_VALUED = (LIST, STRINGS, FILTER, MAP)
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


class FlagError(OrlopError):
    """The command line is wrong in its flags; exit status 125."""


class Flag:
    """A row: `--name`, maybe `-short`, the kind of its value, and its line in the help.

    *check* may raise ValueError with what is wrong about a value. A value that is given for no
    purpose here (Windows, Swarm) has an empty *text*; it is accepted and the help leaves it out.
    """

    __slots__ = ("check", "default", "kind", "name", "short", "text")

    def __init__(
        self,
        name: str,
        short: str = "",
        kind: str = BOOL,
        text: str = "",
        default: str = "",
        check: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.short = short
        self.kind = kind
        self.text = text
        self.default = default
        self.check = check

    def spelled(self) -> str:
        """As errors and the help name it: `-n, --last`, `--format`."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Values:
    """What a command line says: flags by name, and the words beside them."""

    def __init__(
        self, flags: dict[str, Flag], given: dict[str, list[str]], words: list[str]
    ) -> None:
        self._flags = flags
        self._given = given
        self.words = words

    def given(self, name: str) -> bool:
        """Is `--name` on the command line?"""
        return name in self._given

    def flag(self, name: str) -> bool:
        """The value of a flag without value."""
        if name in self._given:
            return self._given[name][-1] in _TRUE
        return self._flags[name].default == "true"

    def text(self, name: str) -> str:
        """The value of `--name`, or its default."""
        return self._given[name][-1] if name in self._given else self._flags[name].default

    def number(self, name: str, default: int = 0) -> int:
        """The value of `--name` as a number."""
        return int(self._given[name][-1], 0) if name in self._given else default

    def many(self, name: str) -> list[str]:
        """All values of `--name`; those of a STRINGS flag split at commas."""
        values = self._given.get(name, [])
        if self._flags[name].kind == STRINGS:
            return [part for value in values for part in value.split(",")]
        return list(values)


def parse_flags(argv: Sequence[str], flags: Sequence[Flag], *, leading: bool = False) -> Values:
    """Read *argv* by the rows *flags*; with *leading* flags end at the first word.

    Raises:
        FlagError: docker's text for what is wrong.
    """
    parser = _Parser(argv, flags)
    take_words(parser, leading=leading)
    return Values(parser.by_name, parser.given, parser.words)


class _Parser:
    def __init__(self, argv: Sequence[str], flags: Sequence[Flag]) -> None:
        self.rest = list(argv)
        self.given: dict[str, list[str]] = {}
        self.words: list[str] = []
        self.by_name = {flag.name: flag for flag in flags}
        self._by_letter = {flag.short: flag for flag in flags if flag.short}

    def take_long(self, word: str) -> None:
        name, equals, value = word[2:].partition("=")
        flag = self.by_name.get(name)
        if flag is None:
            if not name or name.startswith("-"):
                raise FlagError(f"bad flag syntax: {word}")
            raise FlagError(f"unknown flag: --{name}")
        if not equals:
            value = "true" if flag.kind == BOOL else self._value_after(f"--{name}")
        self._take(flag, value)

    def take_short(self, word: str) -> None:
        letters = word[1:]
        for position, letter in enumerate(letters):
            flag = self._by_letter.get(letter)
            if flag is None:
                raise FlagError(f"unknown shorthand flag: {letter!r} in -{letters[position:]}")
            rest = letters[position + 1 :]
            if rest.startswith("=") and len(rest) > 1:
                self._take(flag, rest[1:])
                return
            if flag.kind == BOOL:
                self._take(flag, "true")
                continue
            self._take(flag, rest or self._value_after(f"{letter!r} in -{letters[position:]}"))
            return

    def _value_after(self, shown: str) -> str:
        if not self.rest:
            raise FlagError(f"flag needs an argument: {shown}")
        return self.rest.pop(0)

    def _take(self, flag: Flag, value: str) -> None:
        try:
            check_value(flag, value)
        except ValueError as error:
            raise FlagError(
                f'invalid argument "{value}" for "{flag.spelled()}" flag: {error}'
            ) from None
        if flag.kind in _MANY_VALUED:
            self.given.setdefault(flag.name, []).append(value)
        else:
            self.given[flag.name] = [value]


def check_value(flag: Flag, value: str) -> None:
    """Raise ValueError with docker's text if *value* is none for *flag*."""
    match flag.kind:
        case "" if value not in _TRUE | _FALSE:
            raise ValueError(f'strconv.ParseBool: parsing "{value}": invalid syntax')
        case "int" | "uint16":
            _check_int(flag.kind, value)
        case "bytes":
            parse_bytes(value)
        case "duration":
            parse_duration_ns(value)
        case "decimal":
            parse_nano_cpus(value)
        case "filter" if value and "=" not in value:
            raise ValueError("bad format of filter (expected name=value)")
    if flag.check is not None:
        flag.check(value)


def _check_int(kind: str, value: str) -> None:
    name = "ParseInt" if kind == INT else "ParseUint"
    try:
        number = int(value, 0)
    except ValueError:
        raise ValueError(f'strconv.{name}: parsing "{value}": invalid syntax') from None
    if kind == COUNT and not 0 <= number <= 0xFFFF:
        wrong = "invalid syntax" if number < 0 else "value out of range"
        raise ValueError(f'strconv.ParseUint: parsing "{value}": {wrong}')


_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def parse_bytes(text: str) -> int:
    """`64m`, `1.5g`, `-1` as a number of bytes, powers of 1024.

    Raises:
        ValueError: not a size.
    """
    digits = len(text) - len(text.lstrip("0123456789."))
    number, unit = text[:digits], text[digits:].strip().lower()
    if unit.endswith("ib"):
        unit = unit[:-2]
    elif unit.endswith("b"):
        unit = unit[:-1]
    if text == "-1":
        return -1
    try:
        return int(float(number) * 1024 ** _POWERS[unit])
    except (ValueError, KeyError):
        raise ValueError(f"invalid size: '{text}'") from None


_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


def parse_duration_ns(text: str) -> int:
    """A Go duration such as `1m30s` in nanoseconds.

    Raises:
        ValueError: not a duration.
    """
    rest, sign = text, 1
    if rest[:1] in ("+", "-"):
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return 0
    total = 0.0
    wrong = ValueError(f'time: invalid duration "{text}"')
    if not rest:
        raise wrong
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest) - digits - len(rest[digits:].lstrip("nuµmsh"))
        number, unit, rest = (
            rest[:digits],
            rest[digits : digits + letters],
            rest[digits + letters :],
        )
        if number.strip(".") and not unit and not rest:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if unit not in _NANOSECONDS or not number.strip(".") or number.count(".") > 1:
            raise wrong
        total += float(number) * _NANOSECONDS[unit]
    return sign * int(total)


def parse_nano_cpus(text: str) -> int:
    """`1.5` processors in billionths.

    Raises:
        ValueError: not a number, or finer than a billionth.
    """
    whole, _, fraction = text.partition(".")
    if not (whole + fraction).isdigit():
        raise ValueError(f"failed to parse {text} as a rational number")
    if len(fraction.rstrip("0")) > 9:
        raise ValueError("value is too precise")
    return int(whole or "0") * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or "0")
