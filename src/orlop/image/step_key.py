"""The key of a step's result: a hash of everything that can change it.

Content only: no dates, no owner, no absolute paths. The step's own code counts through its syntax
tree, so a comment or a reformatting repeats nothing, a changed statement does.
"""

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from orlop.image.step import Step
from orlop.image.tree_hash import hash_input
from orlop.lib.errors import InvalidArgument

FORMAT = "2"
"""Change it when the layout of cache entries changes: all earlier ones are left alone then."""

CODE_PREFIXES = ("orlop.image.", "orlop.wire.")
"""Imports from these count as a step's code; `orlop.lib` is mechanism and does not."""

CONTENT = frozenset({"orlop.lib.bios_loader", "orlop.lib.unified_image"})
"""Of `orlop.lib`, what bytes of a result come from: these count."""

INFRASTRUCTURE = frozenset(
    f"orlop.image.{name}"
    for name in ("step", "step_key", "store", "pipeline", "progress", "tree_hash")
)


def check_steps(steps: Sequence[Step], tools: Collection[str]) -> dict[str, Step]:
    """The steps by name.

    Raises:
        InvalidArgument: a name appears twice, a need or a tool is missing, or needs form a circle.
    """
    by_name = {step.name: step for step in steps}
    if len(by_name) != len(steps):
        raise InvalidArgument("two steps have the same name")
    dependency_order(by_name)
    for step in steps:
        lacking = set(step.inputs.tools or ()) - set(tools)
        if lacking:
            raise InvalidArgument(
                f"step {step.name} uses {', '.join(sorted(lacking))}, which the tool root lacks",
                hint="add it to os/tools.toml, then ./orlop lock",
            )
    return by_name


def dependency_order(by_name: Mapping[str, Step]) -> list[str]:
    """Names so that each comes after what it needs."""
    order: list[str] = []
    visiting: list[str] = []

    def visit(name: str, wanted_by: str) -> None:
        if name in order:
            return
        if name in visiting:
            raise InvalidArgument(f"steps need each other: {' -> '.join([*visiting, name])}")
        if name not in by_name:
            raise InvalidArgument(f"step {wanted_by} needs {name}, which is not a step")
        visiting.append(name)
        for need in by_name[name].inputs.needs:
            visit(need, name)
        visiting.pop()
        order.append(name)

    for name in by_name:
        visit(name, name)
    return order


def step_key(
    step: Step, contents: Mapping[str, str], *, epoch: int, tools: Mapping[str, str]
) -> str:
    """The key of *step*, given the content hashes of the results that it needs.

    By content, so that a need that was made again and came out the same repeats nothing.
    *tools* maps the packages of the tool root to their versions.

    Raises:
        InvalidArgument: an input file is missing.
    """
    digest = hashlib.sha256()

    def add(label: str, value: str) -> None:
        # Lengths keep neighbouring fields apart whatever they contain.
        digest.update(f"{label}:{len(value)}:{value}\n".encode(errors="surrogateescape"))

    add("format", FORMAT)
    add("step", step.name)
    add("epoch", str(epoch if step.inputs.epoch is None else step.inputs.epoch))
    for module, code in _code(step.run):
        add("module", module)
        add("code", code)
    for value in step.inputs.values:
        add("value", value)
    for path in step.inputs.files:
        add("file", path.name)
        add("content", hash_input(path))
    for need in step.inputs.needs:
        add("need", need)
        add("content", contents[need])
    for tool in sorted(tools if step.inputs.tools is None else step.inputs.tools):
        add("tool", tool)
        add("version", tools[tool])
    return digest.hexdigest()[:32]


def _code(run: Callable[..., object]) -> Iterator[tuple[str, str]]:
    """Name and syntax tree of the module of *run* and of the builder's modules it imports."""
    function = run
    while isinstance(function, functools.partial):
        function = function.func
    pending, seen = [function.__module__], set[str]()
    while pending:
        module = pending.pop()
        if module in seen:
            continue
        seen.add(module)
        _, imports = _module_code(module)
        pending.extend(
            name
            for name in imports
            if name in CONTENT or (name.startswith(CODE_PREFIXES) and name not in INFRASTRUCTURE)
        )
    for module in sorted(seen):
        yield module, _module_code(module)[0]


@functools.cache
def _module_code(module: str) -> tuple[str, tuple[str, ...]]:
    source = _source(module)
    tree = ast.parse(source)
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # Only `from orlop.image import kernel` names a module after the import.
            imports.add(node.module)
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            imports |= names if f"{node.module}." in CODE_PREFIXES else names & CONTENT
        elif isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)):
            _drop_docstring(node)
    return ast.dump(tree), tuple(sorted(imports))


def _drop_docstring(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> None:
    match node.body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            node.body = rest


def _source(module: str) -> bytes:
    loaded = getattr(sys.modules.get(module), "__file__", None)
    if loaded is not None:
        return Path(loaded).read_bytes()
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise InvalidArgument(f"the code of module {module} is not to be found")
    return Path(spec.origin).read_bytes()
