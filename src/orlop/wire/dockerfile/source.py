"""The text of a Dockerfile as statements: directives, comments, continued lines and heredocs.

Knows which shape the arguments of an instruction have, not what they mean (`instructions`). A
`Statement` is plain data that a process without privileges can hand to the engine.

Source: the Dockerfile reference; error texts as BuildKit's frontend/dockerfile/parser has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile import words
from orlop.wire.dockerfile.substitute import substitute

MAX_BYTES = 2 << 20
MAX_LINE_CHARACTERS = 65535
"""As in dockerd, whose scanner has that buffer."""

DEFAULT_ESCAPE = "\\"

_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_DIRECTIVE_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9]*")
_HEREDOC = re.compile(r"\d*<<(-?)([^<]+)")
_WITH_HEREDOCS = frozenset({"add", "copy", "run"})


@dataclass(frozen=True, slots=True)
class Heredoc:
    """Lines between `<<NAME` and `NAME`. *expand*: the name was not quoted."""

    name: str
    content: str
    expand: bool = True
    chomp: bool = False
    """Written `<<-`: leading tabs are not meant."""

    def text(self) -> str:
        """The content as it is meant."""
        if not self.chomp:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


@dataclass(frozen=True, slots=True)
class Statement:
    """One instruction, its arguments cut but not understood."""

    line: int
    name: str
    """As written."""
    arguments: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    is_array: bool = False
    heredocs: tuple[Heredoc, ...] = ()
    text: str = ""
    """The whole of it on one line, for people and for the history; without heredocs."""

    @property
    def keyword(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Source:
    """A whole file."""

    statements: tuple[Statement, ...]
    escape: str = DEFAULT_ESCAPE
    warnings: tuple[str, ...] = ()


def located(line: int, error: InvalidArgument) -> InvalidArgument:
    """*error* with its place, in docker's words."""
    return InvalidArgument(f"dockerfile parse error on line {line}: {error}", hint=error.hint)


def decode(data: bytes) -> str:
    """The text in *data*.

    Raises:
        InvalidArgument: too large, or not UTF-8.
    """
    if len(data) > MAX_BYTES:
        raise InvalidArgument(f"the Dockerfile is larger than {MAX_BYTES} bytes")
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise located(line, InvalidArgument("the text is not UTF-8")) from error


def read_source(text: str, *, escape: str = DEFAULT_ESCAPE) -> Source:
    """All statements of *text*.

    Raises:
        InvalidArgument: with the line and what is wrong there.
    """
    reader = _Reader(text, escape)
    reader.read_directives()
    statements: list[Statement] = []
    while (statement := reader.next_statement()) is not None:
        statements.append(statement)
    if not statements:
        raise InvalidArgument("file with no instructions")
    return Source(tuple(statements), reader.escape, tuple(reader.warnings))


class _Reader:
    def __init__(self, text: str, escape: str) -> None:
        self._lines = text.split("\n")
        self._position = 0
        self.escape = escape
        self.warnings: list[str] = []

    def read_directives(self) -> None:
        seen: set[str] = set()
        while self._position < len(self._lines):
            line = self._lines[self._position].strip()
            name, equals, value = line.removeprefix("#").partition("=")
            name, value = name.strip().lower(), value.strip()
            is_directive = line.startswith("#") and equals and value and name in _DIRECTIVES
            if not is_directive or _DIRECTIVE_NAME.fullmatch(name) is None:
                return
            self._position += 1
            try:
                if name in seen:
                    raise InvalidArgument(f"only one {name} parser directive can be used")
                self._apply(name, value)
            except InvalidArgument as error:
                raise located(self._position, error) from error
            seen.add(name)

    def _apply(self, name: str, value: str) -> None:
        if name == "escape":
            if value not in ("`", "\\"):
                raise InvalidArgument(f"invalid escape token '{value}' does not match ` or \\")
            self.escape = value
        elif name == "syntax":
            image = value.split(maxsplit=1)[0].partition("@")[0].rsplit("/", 1)[-1]
            if not image.startswith("dockerfile"):
                raise InvalidArgument(
                    f"the frontend {value} requires BuildKit: this engine reads Dockerfiles itself"
                )

    def next_statement(self) -> Statement | None:
        while self._position < len(self._lines):
            line = self._take().lstrip()
            start = self._position
            if line.startswith("#") or not line:
                continue
            line, continued = self._without_continuation(line)
            if continued:
                line = self._continue(line)
            line = line.strip()
            if not line:
                continue
            try:
                return self._statement(line, start)
            except InvalidArgument as error:
                raise located(start, error) from error
        return None

    def _take(self) -> str:
        line = self._lines[self._position].removesuffix("\r")
        self._position += 1
        if len(line) > MAX_LINE_CHARACTERS:
            text = f"dockerfile line greater than max allowed size of {MAX_LINE_CHARACTERS}"
            raise located(self._position, InvalidArgument(text))
        return line

    def _without_continuation(self, line: str) -> tuple[str, bool]:
        """The line without the escape that ends it; an escaped escape does not continue it."""
        stripped = line.rstrip(" \t")
        if not stripped.endswith(self.escape) or stripped.endswith(self.escape * 2):
            return line, False
        return stripped[:-1], True

    def _continue(self, first: str) -> str:
        parts, continued, has_empty = [first], True, False
        while continued and self._position < len(self._lines):
            line = self._take()
            if line.lstrip().startswith("#"):
                continue
            if not line.strip():
                has_empty = has_empty or self._position < len(self._lines)
                continue
            line, continued = self._without_continuation(line)
            parts.append(line)
        joined = "".join(parts)
        if has_empty:
            self.warnings.append(f"[WARNING]: Empty continuation line found in:\n    {joined}")
        return joined

    def _statement(self, line: str, start: int) -> Statement:
        return make_statement(line, start, self.escape, self._read_heredocs(line))

    def _read_heredocs(self, line: str) -> tuple[Heredoc, ...]:
        if "<<" not in line:
            return ()
        name, _, rest = line.partition(" ")
        if name.lower() == "onbuild":
            name, _, rest = rest.lstrip().partition(" ")
        if name.lower() not in _WITH_HEREDOCS:
            return ()
        wanted = [found for word in split_checked(rest) if (found := match_heredoc(word))]
        return tuple(self._read_heredoc(heredoc) for heredoc in wanted)

    def _read_heredoc(self, heredoc: Heredoc) -> Heredoc:
        lines: list[str] = []
        while self._position < len(self._lines):
            line = self._lines[self._position]
            self._position += 1
            ending = line.removesuffix("\r")
            if (ending.lstrip("\t") if heredoc.chomp else ending) == heredoc.name:
                content = "".join(f"{text}\n" for text in lines)
                return Heredoc(heredoc.name, content, heredoc.expand, heredoc.chomp)
            lines.append(line)
        raise InvalidArgument("unterminated heredoc")


def split_checked(text: str) -> list[str]:
    """The words of a shell line in which a heredoc may be; none when a quote stays open."""
    try:
        substitute(text, {}, escape=DEFAULT_ESCAPE, variables=False)
    except InvalidArgument:
        return []
    return words.split_words(text, DEFAULT_ESCAPE)


def match_heredoc(word: str) -> Heredoc | None:
    """The heredoc that *word* announces, still empty; None when it announces none."""
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    try:
        name = substitute(match[2], {}, escape=DEFAULT_ESCAPE, variables=False)
    except InvalidArgument:
        return None
    if not name or name.split() != [name]:
        return None
    return Heredoc(name, "", not any(quote in match[2] for quote in "'\""), bool(match[1]))


def make_statement(
    line: str, start: int, escape: str, heredocs: tuple[Heredoc, ...] = ()
) -> Statement:
    """The statement on *line*, which is not continued any more.

    Raises:
        InvalidArgument: arguments that can be no instruction's.
    """
    parts = line.split(maxsplit=1)
    name, rest = parts[0], parts[1].strip() if len(parts) > 1 else ""
    keyword = name.lower()
    if keyword == "onbuild":
        return Statement(start, name, (rest,) if rest else (), (), False, heredocs, line)
    flags, rest = words.split_flags(rest, escape)
    arguments, is_array = _cut(keyword, rest, escape)
    return Statement(start, name, arguments, flags, is_array, heredocs, line)


def _cut(keyword: str, rest: str, escape: str) -> tuple[tuple[str, ...], bool]:
    """The arguments, and whether they came as a JSON array."""
    array: tuple[str, ...] | None = None
    match keyword:
        case "add" | "copy" | "volume":
            array = words.parse_array(rest)
            return (words.split_blank(rest), False) if array is None else (array, True)
        case "cmd" | "entrypoint" | "run" | "shell":
            array = words.parse_array(rest)
        case "healthcheck":
            kind, *command = words.BLANK.split(rest, maxsplit=1)
            array = words.parse_array(command[0]) if command else None
            if array is not None:
                return (kind, *array), True
            return tuple(part for part in (kind, *command) if part), False
        case "arg":
            return tuple(words.split_words(rest, escape)), False
        case "env" | "label":
            return words.split_pairs(rest, keyword.upper(), escape), False
        case "expose" | "from":
            return words.split_blank(rest), False
        case _:
            pass
    if array is not None:
        return array, True
    return ((rest,) if rest else ()), False
