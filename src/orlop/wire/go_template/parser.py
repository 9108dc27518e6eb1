"""Tokens into nodes, with Go's errors. `define`, `block` and `template` are refused."""

from __future__ import annotations

from orlop.wire.go_template import lexer, nodes
from orlop.wire.go_template.errors import TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

MAX_DEPTH = 50
"""Nested actions and parentheses."""

_BRANCHES = ("if", "range", "with")
_REFUSED = ("define", "block", "template")
_CONSTANTS = {"true": True, "false": False, "nil": None}
_OPERANDS = (
    lexer.FIELD,
    lexer.VARIABLE,
    lexer.WORD,
    lexer.NUMBER,
    lexer.STRING,
    lexer.CHAR,
    lexer.DOT,
)


def parse(text: str, functions: Container[str], name: str = "") -> list[nodes.Node]:
    """The nodes of the template *text*, which may call *functions*; errors call it *name*.

    Raises:
        TemplateError: it does not parse.
    """
    try:
        found, _ = _Parser(text, functions).items(0, top=True)
    except TemplateError as error:
        message = error.message.replace("template: :", f"template: {name}:", 1)
        raise TemplateError(message) from None
    return found


class _Parser:
    def __init__(self, text: str, functions: Container[str]) -> None:
        self._text = text
        self._tokens = lexer.tokenize(text)
        self._index = 0
        self._functions = functions
        self._variables = ["$"]
        self._loops = 0

    # Tokens.

    def _peek(self) -> lexer.Token:
        return self._tokens[self._index]

    def _next(self) -> lexer.Token:
        token = self._tokens[self._index]
        if token[0] != lexer.END:
            self._index += 1
        return token

    def _skip_spaces(self) -> None:
        while self._peek()[0] == lexer.SPACE:
            self._index += 1

    def _fail(self, message: str) -> TemplateError:
        return TemplateError(f"template: :{lexer.line_of(self._text, self._peek()[2])}: {message}")

    def _unexpected(self, token: lexer.Token, where: str) -> TemplateError:
        kind, text, _ = token
        if kind == lexer.END:
            return self._fail("unexpected EOF")
        shown = text if len(text) <= 10 else f"{text[:10]}..."
        word = f"<{text}>" if kind == lexer.WORD and text in (*_BRANCHES, "else", "end") else ""
        quoted = '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return self._fail(f"unexpected {word or quoted} in {where}")

    # Structure.

    def items(self, depth: int, *, top: bool = False) -> tuple[list[nodes.Node], str]:
        """Nodes up to `end`, `else` or the end of the text; which of these it was."""
        if depth > MAX_DEPTH:
            raise self._fail("the template is nested too deeply")
        found: list[nodes.Node] = []
        while True:
            kind, text, offset = self._next()
            if kind == lexer.END:
                if top:
                    return found, ""
                raise self._fail("unexpected EOF")
            if kind == lexer.TEXT:
                found.append(nodes.Text(offset, text))
                continue
            self._skip_spaces()
            word = self._peek()[1] if self._peek()[0] == lexer.WORD else ""
            if word in ("end", "else"):
                if top:
                    raise self._fail(f"unexpected {{{{{word}}}}}")
                self._next()
                return found, word
            found.append(self._action(word, depth))

    def _action(self, word: str, depth: int) -> nodes.Node:
        offset = self._peek()[2]
        if word in _BRANCHES:
            self._next()
            return self._branch(word, offset, depth)
        if word in ("break", "continue"):
            self._next()
            if not self._loops:
                raise self._fail(f"{{{{{word}}}}} outside {{{{range}}}}")
            self._close(word)
            return nodes.Leave(offset, word)
        if word in _REFUSED:
            raise self._fail(f"{word} is not supported here")
        pipeline = self._pipeline("command", lexer.CLOSE, depth)
        return nodes.Action(offset, pipeline)

    def _close(self, where: str) -> None:
        self._skip_spaces()
        token = self._next()
        if token[0] != lexer.CLOSE:
            raise self._unexpected(token, where)

    def _branch(self, kind: str, offset: int, depth: int) -> nodes.Branch:
        known = len(self._variables)
        pipeline = self._pipeline(kind, lexer.CLOSE, depth)
        self._loops += kind == "range"
        body, ending = self.items(depth + 1)
        self._loops -= kind == "range"
        otherwise: list[nodes.Node] = []
        if ending == "else":
            self._skip_spaces()
            _, word, at = self._peek()
            if word in ("if", "with") and word == kind:
                self._next()
                otherwise = [self._branch(word, at, depth + 1)]
                del self._variables[known:]
                return nodes.Branch(offset, kind, pipeline, body, otherwise)
            self._close("else")
            otherwise, ending = self.items(depth + 1)
            if ending == "else":
                raise self._fail("expected end; found {{else}}")
        self._close("end")
        del self._variables[known:]
        return nodes.Branch(offset, kind, pipeline, body, otherwise)

    # Pipelines.

    def _pipeline(self, where: str, closing: str, depth: int) -> nodes.Pipeline:
        if depth > MAX_DEPTH:
            raise self._fail("the template is nested too deeply")
        self._skip_spaces()
        offset = self._peek()[2]
        variables, assigns = self._declarations(where)
        commands: list[nodes.Command] = []
        while True:
            self._skip_spaces()
            kind, text, _ = token = self._peek()
            if kind == lexer.CLOSE or (kind == lexer.PUNCTUATION and text == ")"):
                if (kind if kind == lexer.CLOSE else text) != closing:
                    raise self._unexpected(token, where)
                self._next()
                break
            if kind not in _OPERANDS and text != "(":
                raise self._unexpected(token, where)
            commands.append(self._command(depth))
        if not commands:
            raise self._fail(f"missing value for {where}")
        for number, command in enumerate(commands[1:], start=2):
            first = command.arguments[0]
            if isinstance(first, nodes.Literal | nodes.Dot):
                raise self._fail(f"non executable command in pipeline stage {number}")
        # What is declared can be used from here on, not in its own pipeline.
        self._variables += [] if assigns else variables
        return nodes.Pipeline(
            offset, commands, variables, assigns=assigns, of_range=where == "range"
        )

    def _declarations(self, where: str) -> tuple[list[str], bool]:
        start = self._index
        names: list[str] = []
        while self._peek()[0] == lexer.VARIABLE:
            name = self._next()[1]
            self._skip_spaces()
            kind, text, _ = self._peek()
            if kind == lexer.PUNCTUATION and text in (":=", "="):
                self._next()
                if text == "=" and name not in self._variables:
                    raise self._fail(f'undefined variable "{name}"')
                return [*names, name], text == "="
            if kind == lexer.PUNCTUATION and text == "," and where == "range" and not names:
                self._next()
                self._skip_spaces()
                names.append(name)
                continue
            break
        self._index = start
        return [], False

    def _command(self, depth: int) -> nodes.Command:
        offset = self._peek()[2]
        arguments: list[nodes.Node] = []
        while True:
            self._skip_spaces()
            operand = self._operand(depth)
            if operand is not None:
                arguments.append(operand)
            kind, text, _ = token = self._peek()
            if kind == lexer.SPACE:
                self._skip_spaces()
                kind, text, _ = token = self._peek()
                if kind in _OPERANDS or text == "(":
                    continue
            if kind == lexer.CLOSE or text == ")":
                break
            if kind == lexer.PUNCTUATION and text == "|":
                self._next()
                self._skip_spaces()
                if self._peek()[0] == lexer.CLOSE:
                    raise self._fail("missing value for command")
                break
            raise self._unexpected(token, "operand")
        if not arguments:
            raise self._fail("empty command")
        return nodes.Command(offset, arguments)

    def _operand(self, depth: int) -> nodes.Node | None:
        node = self._term(depth)
        if node is None or self._peek()[0] != lexer.FIELD:
            return node
        offset = self._peek()[2]
        names = []
        while self._peek()[0] == lexer.FIELD:
            names.append(self._next()[1][1:])
        match node:
            case nodes.Field():
                return nodes.Field(offset, node.names + names)
            case nodes.Variable():
                return nodes.Variable(offset, node.name, node.names + names)
            case nodes.Literal() | nodes.Dot():
                raise self._fail(f'unexpected . after term "{node}"')
        return nodes.Chain(offset, node, names)

    def _term(self, depth: int) -> nodes.Node | None:
        kind, text, offset = self._peek()
        if kind == lexer.PUNCTUATION and text == "(":
            self._next()
            return self._pipeline("parenthesized pipeline", ")", depth + 1)
        if kind not in _OPERANDS:
            return None
        self._next()
        match kind:
            case lexer.FIELD:
                return nodes.Field(offset, [text[1:]])
            case lexer.DOT:
                return nodes.Dot(offset)
            case lexer.VARIABLE:
                if text not in self._variables:
                    raise self._fail(f'undefined variable "{text}"')
                return nodes.Variable(offset, text, [])
            case lexer.WORD:
                return self._word(text, offset)
        return nodes.Literal(offset, self._constant(kind, text), text)

    def _word(self, text: str, offset: int) -> nodes.Node:
        if text in _CONSTANTS:
            return nodes.Literal(offset, _CONSTANTS[text], text)
        if text not in self._functions:
            raise self._fail(f'function "{text}" not defined')
        return nodes.Function(offset, text)

    def _constant(self, kind: str, text: str) -> object:
        try:
            if kind == lexer.STRING:
                return lexer.unquote(text)
            if kind == lexer.CHAR:
                return ord(lexer.unquote(text))
            try:
                return int(text, 0)
            except ValueError:
                return float(text)
        except (ValueError, IndexError, TypeError):
            what = "number syntax" if kind == lexer.NUMBER else "syntax"
            raise self._fail(f'bad {what}: "{text}"') from None
