"""Template text into text pieces and the tokens of actions.

Source: Go's text/template, "Actions", "Text and spaces" and "Arguments". A token is a triple of its
kind, its text and its offset in the template.
"""

from __future__ import annotations

from orlop.wire.go_template.errors import TemplateError

type Token = tuple[str, str, int]
"""Kind (one of the constants below), text, offset."""

TEXT, OPEN, CLOSE, FIELD, VARIABLE, WORD = "text", "{{", "}}", "field", "variable", "word"
NUMBER, STRING, CHAR, DOT, SPACE, PUNCTUATION = "number", "string", "char", "dot", "space", "mark"
END = "end"

MAX_TEMPLATE = 64 << 10
"""Characters of a template: what people type has some hundred."""

SPACES = " \t\r\n"
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "'": "'",
}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


def line_of(text: str, offset: int) -> int:
    """The number of the line that *offset* is in, from 1."""
    return text.count("\n", 0, offset) + 1


def tokenize(text: str) -> list[Token]:
    """All tokens of the template *text*, the last one of kind END.

    Raises:
        TemplateError: an action without an end, a string without one, a character that means
            nothing, or a template longer than `MAX_TEMPLATE`.
    """
    if len(text) > MAX_TEMPLATE:
        raise TemplateError("template: the template is too long")
    lexer = _Lexer(text)
    lexer.run()
    return lexer.tokens


def unquote(text: str) -> str:
    """The value of a quoted string or character constant as Go writes them.

    Raises:
        ValueError: a bad escape.
    """
    body = text[1:-1]
    if text[0] == "`":
        return body.replace("\r", "")
    value, position = [], 0
    while position < len(body):
        char = body[position]
        position += 1
        if char != "\\":
            value.append(char)
            continue
        letter = body[position]
        if letter in _ESCAPES:
            value.append(_ESCAPES[letter])
            position += 1
        elif letter in _HEX_DIGITS:
            end = position + 1 + _HEX_DIGITS[letter]
            value.append(chr(int(body[position + 1 : end], 16)))
            position = end
        else:
            value.append(chr(int(body[position : position + 3], 8)))
            position += 3
    return "".join(value)


class _Lexer:
    def __init__(self, text: str) -> None:
        self.tokens: list[Token] = []
        self._text = text
        self._position = 0
        self._depth = 0

    def run(self) -> None:
        trim = False
        while True:
            start = self._position
            opening = self._text.find("{{", start)
            piece = self._text[start:] if opening < 0 else self._text[start:opening]
            if trim:
                kept = piece.lstrip(SPACES)
                start += len(piece) - len(kept)
                piece = kept
            if opening >= 0 and self._text[opening + 2 : opening + 4] in (
                "- ",
                "-\t",
                "-\n",
                "-\r",
            ):
                piece = piece.rstrip(SPACES)
            if piece:
                self._add(TEXT, piece, start)
            if opening < 0:
                self._add(END, "", len(self._text))
                return
            self._position = opening
            trim = self._action()

    def _add(self, kind: str, text: str, offset: int) -> None:
        self.tokens.append((kind, text, offset))

    def _fail(self, message: str) -> TemplateError:
        return TemplateError(f"template: :{line_of(self._text, self._position)}: {message}")

    def _action(self) -> bool:
        """Read from `{{` to `}}`; does the text after it lose its leading spaces?"""
        text, start = self._text, self._position
        self._position += 2
        if text[self._position : self._position + 1] == "-" and (
            text[self._position + 1 : self._position + 2] in SPACES
        ):
            self._position += 1
        if text.startswith("/*", self._position + self._spaces_at(self._position)):
            return self._comment()
        self._add(OPEN, "{{", start)
        self._depth = 0
        while True:
            spaces = self._spaces_at(self._position)
            for length, trim in ((spaces, False), (spaces and spaces + 1, True)):
                end = self._position + length
                is_trimming = not trim or (spaces and text[end - 1 : end] == "-")
                if is_trimming and text.startswith("}}", end):
                    if self._depth:
                        raise self._fail("unclosed left paren")
                    self._add(CLOSE, "}}", end)
                    self._position = end + 2
                    return trim
            if spaces:
                self._add(SPACE, " ", self._position)
                self._position += spaces
            if self._position >= len(text):
                raise self._fail("unclosed action")
            self._token()

    def _spaces_at(self, position: int) -> int:
        end = position
        while end < len(self._text) and self._text[end] in SPACES:
            end += 1
        return end - position

    def _comment(self) -> bool:
        end = self._text.find("*/", self._position)
        if end < 0:
            raise self._fail("unclosed comment")
        end += 2
        spaces = self._spaces_at(end)
        trim = bool(spaces) and self._text.startswith("-}}", end + spaces)
        closing = end + spaces + 1 if trim else end
        if not self._text.startswith("}}", closing):
            raise self._fail("comment ends before closing delimiter")
        self._position = closing + 2
        return trim

    def _token(self) -> None:
        text, start = self._text, self._position
        char = text[start]
        following = text[start + 1 : start + 2]
        if char in "\"`'":
            self._quoted(char)
        elif char in ".$":
            self._name(start + 1, FIELD if char == "." else VARIABLE)
        elif char.isdigit() or (char in "+-" and following.isdigit()):
            self._number()
        elif char.isalpha() or char == "_":
            self._name(start, WORD)
        elif char in "()|,=" or (char == ":" and following == "="):
            self._mark(":=" if char == ":" else char)
        elif char == ":":
            raise self._fail("expected :=")
        else:
            raise self._fail(f"unexpected {_shown(char)} in operand")

    def _mark(self, mark: str) -> None:
        self._depth += {"(": 1, ")": -1}.get(mark, 0)
        if self._depth < 0:
            raise self._fail("unexpected right paren")
        self._add(PUNCTUATION, mark, self._position)
        self._position += len(mark)

    def _quoted(self, quote: str) -> None:
        text, start = self._text, self._position
        position = start + 1
        while position < len(text) and text[position] != quote:
            if quote != "`" and text[position] == "\n":
                break
            position += 2 if text[position] == "\\" and quote != "`" else 1
        if position >= len(text) or text[position] != quote:
            kind = {"`": "raw quoted string", '"': "quoted string", "'": "character constant"}
            raise self._fail(f"unterminated {kind[quote]}")
        self._position = position + 1
        self._add(CHAR if quote == "'" else STRING, text[start : position + 1], start)

    def _number(self) -> None:
        start = self._position
        end = start + 1
        while end < len(self._text) and (self._text[end].isalnum() or self._text[end] in "._"):
            end += 1
        self._position = end
        self._add(NUMBER, self._text[start:end], start)

    def _name(self, position: int, kind: str) -> None:
        start = self._position
        while position < len(self._text) and (
            self._text[position].isalnum() or self._text[position] == "_"
        ):
            position += 1
        name = self._text[start:position]
        self._position = position
        if position < len(self._text) and self._text[position] not in " \t\r\n.,|:=)(}-\"'`":
            raise self._fail(f"bad character {_shown(self._text[position])}")
        self._add(DOT if name == "." else kind, name, start)


def _shown(char: str) -> str:
    return f"U+{ord(char):04X} '{char}'"
