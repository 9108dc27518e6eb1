"""YAML in, plain values out, and for every key the line it stands on.

Stricter than YAML: no duplicate keys, no tags but those of JSON-like values, keys are strings,
times and sexagesimal numbers stay text, and size, depth and the number of values are bounded, also
after aliases are followed. Input may be hostile, so this runs in the builder and in short-lived
unprivileged workers, never in PID 1.

Source: YAML 1.1 as PyYAML composes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml

from orlop.lib.errors import InvalidArgument

# A machine configuration of a thousand users is 200 KB; 10 MB is not a configuration.
MAX_LENGTH = 1 << 20
MAX_DEPTH = 32
MAX_VALUES = 100_000

_INDEX = re.compile(r"\[(\d+)\]")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class LocatedYaml:
    """The value of one document and the line (from 1) of each path of keys in it."""

    name: str
    data: object
    lines: dict[tuple[str, ...], int]

    def locate(self, path: tuple[str, ...]) -> str:
        """`FILE:LINE: ` of the value at *path*, or of the nearest thing around it.

        `key[3]` and `key.inner` inside one element of *path* are followed as well.
        """
        steps: list[str] = []
        for element in path:
            if (*steps, element) in self.lines:
                steps.append(element)
            else:
                steps += _INDEX.sub(r".\1", element).split(".")
        while steps and tuple(steps) not in self.lines:
            steps.pop()
        line = self.lines.get(tuple(steps))
        return f"{self.name}: " if line is None else f"{self.name}:{line}: "


def parse_yaml(name: str, text: str) -> LocatedYaml:
    """Read the one document in *text*; *name* is the file's, for errors.

    Raises:
        InvalidArgument: not YAML, or outside the bounds above; says file, line and column.
    """
    if len(text) > MAX_LENGTH:
        line = text.count("\n", 0, MAX_LENGTH) + 1
        raise InvalidArgument(f"{name}:{line}: longer than {MAX_LENGTH} characters")
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark is not None else name
        raise InvalidArgument(f"{place}: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InvalidArgument(f"{name}:{line}: a character that YAML forbids") from error
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{name}: {' '.join(str(error).split())}") from error
    builder = _Builder(name)
    data = None if node is None else builder.build(node, ())
    return LocatedYaml(name, data, builder.lines)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # without types
    """Meets the limits while it reads: neither the stack nor the memory is for the input to use."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        self._depth += 1
        self._nodes += 1
        mark = self.peek_event().start_mark
        if self._depth > MAX_DEPTH + 1:
            raise yaml.MarkedYAMLError(None, None, f"nested deeper than {MAX_DEPTH}", mark)
        if self._nodes > MAX_VALUES:
            raise yaml.MarkedYAMLError(None, None, f"more than {MAX_VALUES} values", mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    """Turns nodes into values and notes where each one is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[tuple[str, ...], int] = {}
        self._values = 0

    def build(self, node: yaml.Node, path: tuple[str, ...]) -> object:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._error(
                node, f"more than {MAX_VALUES} values (aliases count where they are used)"
            )
        if len(path) > MAX_DEPTH:
            raise self._error(node, f"nested deeper than {MAX_DEPTH}")
        self.lines.setdefault(path, node.start_mark.line + 1)
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [
                    self.build(item, (*path, str(index))) for index, item in enumerate(node.value)
                ]
            case _:
                return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> dict[str, object]:
        found: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in found:
                raise self._error(key_node, f"{key} is here a second time")
            self.lines[*path, key] = key_node.start_mark.line + 1
            found[key] = self.build(value_node, (*path, key))
        return found

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(node, "a key must be a plain word")
        if node.tag == f"{_TAG}merge":
            raise self._error(node, "merge keys (<<) are not supported")
        return str(node.value)

    def _scalar(self, node: yaml.ScalarNode) -> object:
        text = str(node.value)
        try:
            match node.tag.removeprefix(_TAG):
                case "null":
                    return None
                case "bool":
                    return text.lower() in ("true", "yes", "on")
                case "int" if ":" not in text:
                    return _integer(text)
                case "float" if ":" not in text:
                    return float(
                        text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan")
                    )
                case "str" | "timestamp" | "int" | "float":
                    return text
                case _:
                    raise self._error(node, f"the tag {node.tag} is not supported")
        except ValueError as error:
            raise self._error(node, f"not a number: {text}") from error

    def _error(self, node: yaml.Node, problem: str) -> InvalidArgument:
        mark = node.start_mark
        return InvalidArgument(f"{self.name}:{mark.line + 1}:{mark.column + 1}: {problem}")


class Octal(int):
    """A number that is written in octal in the file."""

    __slots__ = ()


def _integer(text: str) -> int:
    """A YAML 1.1 integer: a leading zero is octal, as in file modes."""
    digits = text.replace("_", "").lower()
    if re.fullmatch(r"[-+]?0[0-7]+", digits):
        return Octal(digits, 8)
    return int(digits, 0)
