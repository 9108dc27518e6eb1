"""The parts of a parsed template. `offset` is where an error about it points to."""

from __future__ import annotations


class Node:
    """What every node has."""

    __slots__ = ("offset",)

    def __init__(self, offset: int) -> None:
        self.offset = offset


class Text(Node):
    """Text that is written as it is."""

    __slots__ = ("text",)

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(offset)
        self.text = text


class Literal(Node):
    """A constant: a string, number, boolean or nil (None); *source* is how it was written."""

    __slots__ = ("source", "value")

    def __init__(self, offset: int, value: object, source: str) -> None:
        super().__init__(offset)
        self.value = value
        self.source = source

    def __str__(self) -> str:
        return self.source


class Dot(Node):
    """The cursor."""

    __slots__ = ()

    def __str__(self) -> str:
        return "."


class Field(Node):
    """`.A.B`: fields of the cursor."""

    __slots__ = ("names",)

    def __init__(self, offset: int, names: list[str]) -> None:
        super().__init__(offset)
        self.names = names

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


class Variable(Node):
    """`$x.A`: fields of a variable; `$` alone is the value the template was given."""

    __slots__ = ("name", "names")

    def __init__(self, offset: int, name: str, names: list[str]) -> None:
        super().__init__(offset)
        self.name = name
        self.names = names

    def __str__(self) -> str:
        return ".".join([self.name, *self.names])


class Chain(Node):
    """`(pipeline).A.B`: fields of a value."""

    __slots__ = ("names", "value")

    def __init__(self, offset: int, value: Node, names: list[str]) -> None:
        super().__init__(offset)
        self.value = value
        self.names = names

    def __str__(self) -> str:
        inner = f"({self.value})" if isinstance(self.value, Pipeline) else str(self.value)
        return ".".join([inner, *self.names])


class Function(Node):
    """The name of a function."""

    __slots__ = ("name",)

    def __init__(self, offset: int, name: str) -> None:
        super().__init__(offset)
        self.name = name

    def __str__(self) -> str:
        return self.name


class Command(Node):
    """An operand and what follows it as arguments."""

    __slots__ = ("arguments",)

    def __init__(self, offset: int, arguments: list[Node]) -> None:
        super().__init__(offset)
        self.arguments = arguments

    def __str__(self) -> str:
        return " ".join(
            f"({each})" if isinstance(each, Pipeline) else str(each) for each in self.arguments
        )


class Pipeline(Node):
    """Commands, each with the value of the one before as its last argument; maybe assigned.

    With *of_range* the variables are set for each item, not to the pipeline's value.
    """

    __slots__ = ("assigns", "commands", "of_range", "variables")

    def __init__(
        self,
        offset: int,
        commands: list[Command],
        variables: list[str],
        *,
        assigns: bool,
        of_range: bool = False,
    ) -> None:
        super().__init__(offset)
        self.commands = commands
        self.of_range = of_range
        self.variables = variables
        self.assigns = assigns

    def __str__(self) -> str:
        sign = " = " if self.assigns else " := "
        declared = ", ".join(self.variables) + sign if self.variables else ""
        return declared + " | ".join(map(str, self.commands))


class Action(Node):
    """A pipeline whose value is written, unless it is assigned."""

    __slots__ = ("pipeline",)

    def __init__(self, offset: int, pipeline: Pipeline) -> None:
        super().__init__(offset)
        self.pipeline = pipeline


class Branch(Node):
    """`if`, `with` and `range`, by *kind*."""

    __slots__ = ("body", "kind", "otherwise", "pipeline")

    def __init__(
        self, offset: int, kind: str, pipeline: Pipeline, body: list[Node], otherwise: list[Node]
    ) -> None:
        super().__init__(offset)
        self.kind = kind
        self.pipeline = pipeline
        self.body = body
        self.otherwise = otherwise


class Leave(Node):
    """`break` and `continue`, by *kind*."""

    __slots__ = ("kind",)

    def __init__(self, offset: int, kind: str) -> None:
        super().__init__(offset)
        self.kind = kind
