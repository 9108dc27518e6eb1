"""Executing a template on a value. Steps, nesting and output are bounded; nothing else is reached.

`Template(text).execute(value)` is all that a caller needs. Errors are Go's text.
"""

from __future__ import annotations

from orlop.wire.go_template import nodes
from orlop.wire.go_template.errors import TemplateError
from orlop.wire.go_template.functions import FUNCTIONS, NAMES, CallError, kind_of
from orlop.wire.go_template.parser import parse
from orlop.wire.go_template.values import (
    MISSING,
    NIL_MAP,
    Map,
    Missing,
    Nil,
    Struct,
    is_true,
    show,
    struct_field,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orlop.wire.go_template.functions import Function

MAX_STEPS = 1_000_000
"""Nodes visited in one execution: some seconds."""
MAX_OUTPUT = 16 << 20
"""Characters that one execution writes."""
CONTEXT_CHARACTERS = 20


class Template:
    """A parsed template.

    Raises:
        TemplateError: it does not parse.
    """

    def __init__(self, text: str, name: str = "") -> None:
        self._text = text
        self._name = name
        self._nodes = parse(text, NAMES, name)

    def execute(
        self,
        value: object,
        *,
        functions: Mapping[str, tuple[Function, int, int]] = FUNCTIONS,
        strict: bool = False,
    ) -> str:
        """What the template says about *value*; with *strict* a map must have the keys asked for.

        Raises:
            TemplateError: it cannot be executed on it, or a bound is reached.
        """
        execution = _Execution(self._text, self._name, value, functions, strict=strict)
        try:
            execution.walk(self._nodes, value)
        except RecursionError:
            raise TemplateError("template: the value is nested too deeply") from None
        return "".join(execution.out)


class _Left(Exception):
    """`break` or `continue` on its way to its `range`."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class _Execution:
    def __init__(
        self,
        text: str,
        name: str,
        value: object,
        functions: Mapping[str, tuple[Function, int, int]],
        *,
        strict: bool,
    ) -> None:
        self.out: list[str] = []
        self._text = text
        self._name = name
        self._functions = functions
        self._strict = strict
        self._variables: list[tuple[str, object]] = [("$", value)]
        self._steps = 0
        self._written = 0

    def walk(self, items: Iterable[nodes.Node], dot: object) -> None:
        """Write what *items* say with the cursor at *dot*."""
        for item in items:
            self._step(item)
            match item:
                case nodes.Text():
                    self._write(item.text)
                case nodes.Action():
                    value = self._pipeline(item.pipeline, dot)
                    if not item.pipeline.variables:
                        self._write(show(value))
                case nodes.Branch():
                    self._branch(item, dot)
                case nodes.Leave():
                    raise _Left(item.kind)

    def _step(self, node: nodes.Node) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise self._fail(node, "the template takes too long")

    def _write(self, text: str) -> None:
        self._written += len(text)
        if self._written > MAX_OUTPUT:
            raise TemplateError("template: the output is too long")
        self.out.append(text)

    def _fail(self, node: nodes.Node, message: str) -> TemplateError:
        before = self._text[: node.offset]
        line = before.count("\n") + 1
        column = len(before.rpartition("\n")[2].encode())
        context = str(node)
        if len(context) > CONTEXT_CHARACTERS:
            context = context[:CONTEXT_CHARACTERS] + "..."
        where = f'template: {self._name}:{line}:{column}: executing "{self._name}" at <{context}>'
        return TemplateError(f"{where}: {message}")

    # Branches.

    def _branch(self, node: nodes.Branch, dot: object) -> None:
        known = len(self._variables)
        try:
            value = self._pipeline(node.pipeline, dot)
            if node.kind == "range":
                self._range(node, value, dot)
            elif is_true(value):
                self.walk(node.body, value if node.kind == "with" else dot)
            else:
                self.walk(node.otherwise, dot)
        finally:
            del self._variables[known:]

    def _range(self, node: nodes.Branch, value: object, dot: object) -> None:
        known = len(self._variables)
        found = False
        for key, each in self._items(node, value):
            found = True
            self._step(node)
            del self._variables[known:]
            self._bind(node.pipeline, key, each)
            try:
                self.walk(node.body, each)
            except _Left as left:
                if left.kind == "break":
                    break
        if not found:
            self.walk(node.otherwise, dot)

    def _bind(self, pipeline: nodes.Pipeline, key: object, value: object) -> None:
        names = pipeline.variables
        if not names:
            return
        values = [value] if len(names) == 1 else [key, value]
        for name, each in zip(names, values, strict=True):
            if pipeline.assigns:
                self._assign(name, each)
            else:
                self._variables.append((name, each))

    def _items(self, node: nodes.Branch, value: object) -> Iterable[tuple[object, object]]:
        if isinstance(value, list):
            return enumerate(value)
        if isinstance(value, Map):
            return [(key, value[key]) for key in sorted(value)]
        if isinstance(value, int) and not isinstance(value, bool):
            return ((number, number) for number in range(value))
        if value is None or isinstance(value, Missing | Nil):
            return ()
        raise self._fail(node.pipeline, f"range can't iterate over {show(value)}")

    # Pipelines.

    def _pipeline(self, pipeline: nodes.Pipeline, dot: object) -> object:
        value: object = MISSING
        for number, command in enumerate(pipeline.commands):
            final = (value,) if number else ()
            value = self._command(command, dot, final)
        if pipeline.variables and not pipeline.of_range:
            name = pipeline.variables[0]
            if pipeline.assigns:
                self._assign(name, value)
            else:
                self._variables.append((name, value))
        return value

    def _assign(self, name: str, value: object) -> None:
        for position in range(len(self._variables) - 1, -1, -1):
            if self._variables[position][0] == name:
                self._variables[position] = (name, value)
                return

    def _command(self, command: nodes.Command, dot: object, final: Sequence[object]) -> object:
        first, *rest = command.arguments
        self._step(first)
        if isinstance(first, nodes.Function):
            return self._call(first, command, dot, [*rest], final)
        is_path = isinstance(first, nodes.Field | nodes.Variable | nodes.Chain) and first.names
        if (rest or final) and is_path:
            given = [*(self._value(each, dot) for each in rest), *final]
            return self._method(first, dot, given)
        if rest or final:
            shown = first if not isinstance(first, nodes.Pipeline) else f"({first})"
            raise self._fail(first, f"can't give argument to non-function {shown}")
        return self._value(first, dot)

    def _method(
        self,
        node: nodes.Node,
        dot: object,
        arguments: Sequence[object],
    ) -> object:
        """`.Label "name"`: the last name is a method with arguments."""
        base = dot
        assert isinstance(node, nodes.Field | nodes.Variable | nodes.Chain)
        if isinstance(node, nodes.Variable):
            base = self._variable(node.name)
        elif isinstance(node, nodes.Chain):
            base = self._value(node.value, dot)
        base = self._fields(node, base, node.names[:-1])
        name = node.names[-1]
        method = getattr(base, "template_method", None)
        if method is None:
            raise self._fail(node, f"{name} has arguments but cannot be invoked as function")
        try:
            return method(name, arguments)
        except KeyError:
            kind = getattr(base, "type_name", "interface {}")
            raise self._no_field(node, name, kind) from None

    def _value(self, node: nodes.Node, dot: object) -> object:
        self._step(node)
        match node:
            case nodes.Literal():
                return node.value
            case nodes.Dot():
                return dot
            case nodes.Field():
                return self._fields(node, dot, node.names)
            case nodes.Variable():
                return self._fields(node, self._variable(node.name), node.names)
            case nodes.Chain():
                return self._fields(node, self._value(node.value, dot), node.names)
            case nodes.Pipeline():
                return self._pipeline(node, dot)
            case nodes.Function():
                command = nodes.Command(node.offset, [node])
                return self._call(node, command, dot, [], ())
        raise self._fail(node, "can't evaluate this")

    def _variable(self, name: str) -> object:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise TemplateError(f"template: undefined variable {name}")

    def _fields(self, node: nodes.Node, value: object, names: Sequence[str]) -> object:
        for name in names:
            value = self._field(node, value, name)
        return value

    def _field(self, node: nodes.Node, value: object, name: str) -> object:
        if isinstance(value, dict):
            return self._member(node, value, name)
        if value is NIL_MAP and not self._strict:
            return MISSING
        if value is None or isinstance(value, Missing | Nil):
            raise self._fail(node, f'nil data; no entry for key "{name}"')
        answer = getattr(value, "template_field", None)
        if answer is None:
            raise self._no_field(node, name, kind_of(value))
        try:
            return answer(name)
        except KeyError:
            kind = getattr(value, "type_name", "interface {}")
            raise self._no_field(node, name, kind) from None

    def _member(self, node: nodes.Node, value: dict[str, object], name: str) -> object:
        if name in value:
            return value[name]
        if not self._strict and isinstance(value, Map):
            return MISSING
        if not self._strict:
            try:
                return struct_field(value, name)
            except KeyError:
                pass
        if isinstance(value, Struct):
            raise self._no_field(node, name, value.type_name)
        raise self._fail(node, f'map has no entry for key "{name}"')

    def _no_field(self, node: nodes.Node, name: str, kind: str) -> TemplateError:
        return self._fail(node, f"can't evaluate field {name} in type {kind}")

    # Functions.

    def _call(
        self,
        node: nodes.Function,
        command: nodes.Command,
        dot: object,
        arguments: Sequence[nodes.Node],
        final: Sequence[object],
    ) -> object:
        if node.name in ("and", "or"):
            return self._shortcut(node, dot, arguments, final)
        function, least, most = self._functions[node.name]
        count = len(arguments) + len(final)
        if not least <= count <= most:
            want = f"at least {least}" if most != least else str(least)
            raise self._fail(node, f"wrong number of args for {node.name}: want {want} got {count}")
        values = [self._value(argument, dot) for argument in arguments]
        try:
            return function([*values, *final])
        except CallError as error:
            raise self._fail(command, str(error)) from None
        except (ValueError, IndexError, OverflowError) as error:
            raise self._fail(command, f"error calling {node.name}: {error}") from None

    def _shortcut(
        self,
        node: nodes.Function,
        dot: object,
        arguments: Sequence[nodes.Node],
        final: Sequence[object],
    ) -> object:
        if not arguments and not final:
            raise self._fail(node, f"wrong number of args for {node.name}: want at least 1 got 0")
        value: object = MISSING
        for argument in arguments:
            value = self._value(argument, dot)
            if is_true(value) == (node.name == "or"):
                return value
        return final[0] if final else value
