"""Variables, quotes and escapes in the words of a Dockerfile: `$x`, `${x:-y}`, `${x/a/b}`.

Also the pattern forms `${x#p} ${x##p} ${x%p} ${x%%p} ${x/p/r} ${x//p/r}` with `*` and `?`. Work
and results are bounded: names and patterns come from a stranger's file, values from his image.

Source: the Dockerfile reference ("Environment replacement"); error texts as BuildKit's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile import wildcard

MAX_RESULT_CHARACTERS = 1 << 20
MAX_DEPTH = 50
"""Of one form inside another: more than anybody writes, less than Python's stack."""

_SPECIAL = "@*#?-$!0"


def substitute(
    word: str,
    values: Mapping[str, str],
    *,
    escape: str = "\\",
    quotes: bool = True,
    variables: bool = True,
) -> str:
    """*word* with variables replaced by *values*, quotes removed and escapes resolved.

    With `quotes=False` quotes are characters like others, as in the content of a heredoc; with
    `variables=False` so is `$`.

    Raises:
        InvalidArgument: a quote or brace is not closed, or a form is unknown.
    """
    return "".join(piece.text for piece in _pieces(word, values, escape, quotes, variables))


def substitute_words(word: str, values: Mapping[str, str], *, escape: str = "\\") -> list[str]:
    """As `substitute`, then cut at the white space that values brought and no quote protects."""
    result: list[str] = []
    current: list[str] = []
    for piece in _pieces(word, values, escape, True, True):
        if piece.whole:
            current.append(piece.text)
            continue
        for char in piece.text:
            if not char.isspace():
                current.append(char)
            elif current:
                result.append("".join(current))
                current = []
    if current:
        result.append("".join(current))
    return result


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    whole: bool
    """Quoted or escaped: white space in it separates nothing."""


def _pieces(
    word: str, values: Mapping[str, str], escape: str, quotes: bool, variables: bool
) -> list[_Piece]:
    scanner = _Scanner(word, values, escape, quotes, variables)
    try:
        return scanner.until("")
    except InvalidArgument as error:
        raise InvalidArgument(f'failed to process "{word[:200]}": {error}') from error


class _Scanner:
    """Reads one word once, from left to right."""

    def __init__(
        self, text: str, values: Mapping[str, str], escape: str, quotes: bool, variables: bool
    ) -> None:
        self._text = text
        self._position = 0
        self._values = values
        self._escape = escape
        self._quotes = quotes
        self._variables = variables
        self._keep_escapes = False
        self._depth = 0
        self._size = 0
        self._budget = wildcard.Budget()

    def until(self, stop: str) -> list[_Piece]:
        """What comes before the character *stop*, which is taken too; empty: before the end."""
        pieces: list[_Piece] = []
        while char := self._next():
            if stop and char == stop:
                return pieces
            if char == "$" and self._variables:
                pieces.append(self._made(self._dollar(), whole=False))
            elif char in "'\"" and self._quotes:
                text = self._single_quoted() if char == "'" else self._double_quoted()
                pieces.append(self._made(text, whole=True))
            elif char == self._escape:
                escaped = self._next()
                kept = char if self._keep_escapes else ""
                if escaped or kept:
                    pieces.append(self._made(kept + escaped, whole=True))
            else:
                pieces.append(self._made(char, whole=False))
        if stop:
            _fail(
                "syntax error: missing '}'" if stop == "}" else "syntax error: missing '/' in ${}"
            )
        return pieces

    def _made(self, text: str, *, whole: bool) -> _Piece:
        self._size += len(text)
        if self._size > MAX_RESULT_CHARACTERS:
            _fail(f"more than {MAX_RESULT_CHARACTERS} characters")
        return _Piece(text, whole)

    def _next(self) -> str:
        char = self._peek()
        self._position += 1
        return char

    def _peek(self) -> str:
        return self._text[self._position] if self._position < len(self._text) else ""

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._position)
        if end < 0:
            _fail("unexpected end of statement while looking for matching single-quote")
        text = self._text[self._position : end]
        self._position = end + 1
        return text

    def _double_quoted(self) -> str:
        parts: list[str] = []
        while (char := self._next()) != '"':
            if not char:
                _fail("unexpected end of statement while looking for matching double-quote")
            if char == "$" and self._variables:
                parts.append(self._dollar())
            elif char == self._escape:
                following = self._peek()
                if not following:
                    continue
                if following in ('"', "$", self._escape):
                    parts.append((char if self._keep_escapes else "") + self._next())
                else:
                    parts.append(char)
            else:
                parts.append(char)
        return "".join(parts)

    def _dollar(self) -> str:
        if self._peek() != "{":
            name = self._name()
            return self._values.get(name, "") if name else "$"
        self._next()
        if not self._peek():
            _fail("syntax error: missing '}'")
        if self._peek() in "{}:":
            _fail("syntax error: bad substitution")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            _fail(f"more than {MAX_DEPTH} substitutions inside each other")
        value = self._braced(self._name())
        self._depth -= 1
        return value

    def _name(self) -> str:
        first = self._peek()
        start = self._position
        if first.isdigit():
            while self._peek().isdigit():
                self._position += 1
        elif first and first in _SPECIAL:
            self._position += 1
        else:
            while (char := self._peek()) and (char.isalnum() or char == "_"):
                self._position += 1
        return self._text[start : self._position]

    def _braced(self, name: str) -> str:
        value = self._values.get(name)
        operator = self._next()
        if operator == "}":
            return value or ""
        if operator == "/":
            return self._replaced(value or "")
        empty_counts = operator == ":"
        if empty_counts:
            operator = self._next()
        if not operator:
            _fail("syntax error: missing '}'")
        if operator not in "+-?#%":
            modifier = f"{':' if empty_counts else ''}{operator}"
            _fail(f"unsupported modifier ({modifier}) in substitution")
        word = self._word("}", keep_escapes=operator in "#%")
        if operator in "#%":
            return self._trimmed(value or "", operator, word)
        missing = value is None or (empty_counts and not value)
        if operator == "+":
            return "" if missing else word
        if missing and operator == "?":
            kind = "unset" if value is None else "empty"
            _fail(f"{name}: {word or f'is not allowed to be {kind}'}")
        return word if missing else value or ""

    def _word(self, stop: str, *, keep_escapes: bool) -> str:
        before, self._keep_escapes = self._keep_escapes, keep_escapes
        pieces = self.until(stop)
        self._keep_escapes = before
        return "".join(piece.text for piece in pieces)

    def _trimmed(self, value: str, operator: str, word: str) -> str:
        greedy = word.startswith(operator)
        pattern = self._pattern(word[1:] if greedy else word)
        if operator == "%":
            end = wildcard.match_prefix(pattern[::-1], value[::-1], self._budget, greedy=greedy)
            return value[: len(value) - end] if end is not None else value
        end = wildcard.match_prefix(pattern, value, self._budget, greedy=greedy)
        return value[end:] if end is not None else value

    def _replaced(self, value: str) -> str:
        replace_all = self._peek() == "/"
        if replace_all:
            self._next()
        pattern = self._pattern(self._word("/", keep_escapes=True))
        # The escape of a brace or slash is not part of the text.
        text = self._word("}", keep_escapes=True).replace("\\}", "}").replace("\\/", "/")
        return wildcard.replace(pattern, value, text, self._budget, every=replace_all)

    def _pattern(self, text: str) -> list[str]:
        return wildcard.parse(text)


def _fail(text: str) -> NoReturn:
    raise InvalidArgument(text)
