"""Classes that the builder has prepared are as `@dataclass` makes them."""

import ast
import copy
import dataclasses
import importlib
import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from orlop.image.prepare import prepare
from orlop.lib import prepared

SOURCES = Path(__file__).parents[3] / "src"
LAYERS = ("lib", "wire", "engine", "system", "services", "cli")

TEXT = '''\
"""A module."""
from __future__ import annotations

from dataclasses import dataclass, field

capabilities = "all"

@dataclass(frozen=True, slots=True)
class Point:
    """A point."""

    x: int
    y: int = 2
    """Up."""
    capabilities: str = capabilities

    def total(self) -> int:
        return self.x + self.y

@dataclass(slots=True)
class Basket:
    owner: str
    items: list[int] = field(default_factory=list)
    secret: str = field(default="s", repr=False)
    total: int = 0

    def __post_init__(self) -> None:
        self.total = sum(self.items)

@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    first: int = 1
    second: int
'''


def _run(text: str, *, how: bool) -> types.ModuleType:
    module = types.ModuleType(__name__)
    tree = ast.parse(text, "sample.py")
    exec(compile(prepare(tree) if how else tree, "sample.py", "exec"), module.__dict__)
    return module


@pytest.fixture(scope="module")
def sample() -> Any:
    return _run(TEXT, how=True)


def test_values_are_equal_hashable_and_shown_as_before(sample: Any) -> None:
    plain: Any = _run(TEXT, how=False)
    assert isinstance(sample.Point(1), prepared.Frozen)
    assert sample.Point(1) == sample.Point(x=1, y=2)
    assert sample.Point(1) != sample.Point(2)
    assert sample.Point(1) != plain.Point(1)
    assert hash(sample.Point(1)) == hash(plain.Point(1))
    assert repr(sample.Point(1)) == repr(plain.Point(1)) == "Point(x=1, y=2, capabilities='all')"
    assert repr(sample.Basket("a", [1])) == "Basket(owner='a', items=[1], total=1)"
    with pytest.raises(TypeError, match="unhashable"):
        hash(sample.Basket("a"))
    assert sample.Named(second=3) == sample.Named(first=1, second=3)
    with pytest.raises(TypeError):
        sample.Named(1, 2)


def test_a_frozen_one_cannot_be_changed(sample: Any) -> None:
    point = sample.Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.other = 2
    assert copy.deepcopy(point) == copy.copy(point) == point


def test_a_mutable_one_has_its_own_defaults(sample: Any) -> None:
    first, second = sample.Basket("a"), sample.Basket("b")
    first.items.append(1)
    assert second.items == []
    with pytest.raises(AttributeError):
        first.unknown = 1
    first.items = first
    assert repr(first) == "Basket(owner='a', items=..., total=0)"


def test_functions_of_dataclasses_work(sample: Any) -> None:
    assert [dataclasses.is_dataclass(kind) for kind in vars(sample).values()].count(True) == 3
    point: Any = dataclasses.replace(sample.Point(1), y=5)
    assert point == copy.replace(sample.Point(1), y=5) == sample.Point(1, 5)
    basket = sample.Basket("a", [1, 2])
    assert dataclasses.asdict(basket) == {"owner": "a", "items": [1, 2], "secret": "s", "total": 3}
    up: object = None
    match point:
        case sample.Point(1, up):
            pass
    assert up == 5


def test_lines_stay_where_they_are() -> None:
    tree = prepare(ast.parse(TEXT))
    found = {node.name: node.lineno for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    plain = {
        node.name: node.lineno for node in ast.parse(TEXT).body if isinstance(node, ast.ClassDef)
    }
    assert found == plain


@pytest.mark.parametrize(
    "text",
    [
        "@dataclass(slots=True, order=True)\nclass C:\n    a: int\n",
        "@dataclass(frozen=True)\nclass C:\n    a: int\n",
        "@dataclass(slots=True)\nclass C[T]:\n    a: T\n",
        "@dataclass(slots=True)\nclass C:\n    a: ClassVar[int] = 1\n",
        "@dataclass(slots=True)\nclass C:\n    a: int = field(init=False, default=0)\n",
        "@dataclass(slots=True)\nclass C:\n    a: int = 1\n    b: int = a\n",
        "@dataclass(slots=True)\nclass C:\n    __a: int\n",
        "@dataclass(slots=True)\nclass C:\n    a: int = max(1, 2)\n    def max(self): return 1\n",
        "@dataclass(slots=True)\nclass C:\n    a: int\n    def __eq__(self, other): return True\n",
        "@dataclass(slots=True)\nclass C:\n    a: int\nclass D(C): pass\n",
        "@other\n@dataclass(slots=True)\nclass C:\n    a: int\n",
    ],
)
def test_what_is_not_known_stays_as_it_is(text: str) -> None:
    text = f"from dataclasses import dataclass, field\n{text}"
    assert ast.unparse(prepare(ast.parse(text))) == ast.unparse(ast.parse(text))


def _text(value: object) -> list[str]:
    """What *value* shows, whatever the order of its sets and its address are."""
    return sorted(re.sub(" at 0x[0-9a-f]+", "", repr(value)))


def _describe(kind: type[Any]) -> list[object]:
    """Everything about the class that others can rely on."""
    rows: list[object] = [kind.__slots__, kind.__match_args__, kind.__hash__ is None]
    for one in dataclasses.fields(kind):
        made = one.default_factory is not dataclasses.MISSING
        rows.append(
            (
                one.name,
                str(one.type),
                _text(one.default),
                made,
                one.repr,
                one.init,
                one.kw_only,
            )
        )
    words = list(inspect.signature(kind.__init__).parameters.values())[1:]
    rows += [(word.name, word.kind, word.default is not word.empty) for word in words]
    return rows


def test_all_of_ours_are_as_they_were() -> None:
    """Each module's prepared form is executed, and its classes are compared with the real ones."""
    count = 0
    for path in sorted(
        path for layer in LAYERS for path in (SOURCES / "orlop" / layer).rglob("*.py")
    ):
        text = path.read_text()
        if "@dataclass(" not in text:
            continue
        name = path.relative_to(SOURCES).with_suffix("").as_posix().replace("/", ".")
        original = importlib.import_module(name.removesuffix(".__init__"))
        module = types.ModuleType(original.__name__)
        exec(compile(prepare(ast.parse(text)), str(path), "exec"), module.__dict__)
        assert sys.modules[original.__name__] is original
        for key, kind in vars(module).items():
            if isinstance(kind, type) and issubclass(kind, (prepared.Frozen, prepared.Mutable)):
                if kind.__module__ != original.__name__:
                    continue
                real = getattr(original, key)
                frozen = real.__dataclass_params__.frozen
                assert issubclass(kind, prepared.Frozen if frozen else prepared.Mutable)
                assert _describe(kind) == _describe(real), f"{name}.{key}"
                count += 1
    assert count > 300


RARE = {"lib/fat32", "wire/release", "wire/tuf/metadata"}
"""Loaded by what updates and installs, and never by an engine or PID 1 as they start."""


def test_every_class_that_a_boot_loads_is_prepared() -> None:
    left = set()
    for layer in ("lib", "wire", "engine", "system", "services"):
        for path in (SOURCES / "orlop" / layer).rglob("*.py"):
            tree = prepare(ast.parse(path.read_bytes()))
            classes = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
            if any("dataclass" in ast.unparse(item) for c in classes for item in c.decorator_list):
                left.add(path.relative_to(SOURCES / "orlop").with_suffix("").as_posix())
    assert left <= RARE
