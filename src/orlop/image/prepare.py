"""Write out at build time what `@dataclass` would write each time a program starts.

Each class that is decorated by ``@dataclass(slots=True, ...)`` becomes, in the image only, a class
on `orlop.lib.prepared.Frozen` or `Mutable` with its slots and its `__init__`. Line numbers stay.
A class with anything that is not known here stays as it is, so does all code that is not ours.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

MODULE = "orlop.lib.prepared"
_NAMES = {name: f"_prepared_{name}" for name in ("Frozen", "Mutable", "Later", "set_field")}
"""What is imported, under names that no module of ours has."""
_OPTIONS = frozenset({"frozen", "slots", "kw_only"})
_FIELD_OPTIONS = frozenset({"default", "default_factory", "repr"})
_NOT_FIELDS = ("ClassVar", "InitVar", "KW_ONLY")
_TAKEN = {
    *("__init__", "__eq__", "__hash__", "__slots__", "__match_args__"),
    *("__setattr__", "__delattr__", "__getstate__", "__setstate__"),
}
"""What a prepared class has; one that has its own is left alone."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    default: ast.expr | None
    factory: bool
    shown: bool


def prepare(tree: ast.Module) -> ast.Module:
    """Rewrite the dataclasses of *tree*, in place, and import what they need."""
    if not _imports_dataclass(tree):
        return tree
    bases = {name.id for node in ast.walk(tree) for name in _bases(node)}
    changed = False
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name not in bases:
            changed |= _prepare_class(node)
    if changed:
        names = [ast.alias(name, alias) for name, alias in _NAMES.items()]
        tree.body.insert(_first_line(tree), ast.ImportFrom(MODULE, names, 0))
        ast.fix_missing_locations(tree)
    return tree


def _imports_dataclass(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "dataclasses"
        and any(alias.name == "dataclass" and alias.asname is None for alias in node.names)
        for node in tree.body
    )


def _bases(node: ast.AST) -> Iterator[ast.Name]:
    if isinstance(node, ast.ClassDef):
        yield from (base for base in node.bases if isinstance(base, ast.Name))


def _first_line(tree: ast.Module) -> int:
    """Where an import can stand: after the docstring and what is from the future."""
    index = 0 if ast.get_docstring(tree) is None else 1
    for number, node in enumerate(tree.body):
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            index = number + 1
    return index


def _prepare_class(node: ast.ClassDef) -> bool:
    options = _options(node)
    fields = None if options is None else _fields(node)
    if options is None or fields is None:
        return False
    frozen, kw_only = options.get("frozen", False), options.get("kw_only", False)
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign):
            statement.value = None
    slots = ast.Tuple([ast.Constant(field.name) for field in fields], ast.Load())
    made: list[ast.stmt] = [_assign("__slots__", slots)]
    made.append(_assign("__match_args__", ast.Tuple([], ast.Load()) if kw_only else slots))
    if hidden := [ast.Constant(field.name) for field in fields if not field.shown]:
        made.append(_assign("__hidden__", ast.Tuple(list(hidden), ast.Load())))
    post = any(
        isinstance(item, ast.FunctionDef) and item.name == "__post_init__" for item in node.body
    )
    made.append(_init(fields, frozen=frozen, kw_only=kw_only, post=post))
    for statement in made:
        for part in ast.walk(statement):
            if not isinstance(part, ast.expr) or not hasattr(part, "lineno"):
                ast.copy_location(part, node)
    node.body += made
    node.decorator_list = []
    node.bases = [ast.copy_location(_name(_NAMES["Frozen" if frozen else "Mutable"]), node)]
    return True


def _options(node: ast.ClassDef) -> dict[str, bool] | None:
    """The options of the decorator, if it is one that is known here, and the class is plain."""
    if len(node.decorator_list) != 1 or node.bases or node.keywords or node.type_params:
        return None
    call = node.decorator_list[0]
    if not (isinstance(call, ast.Call) and _is_name(call.func, "dataclass")) or call.args:
        return None
    options = {
        word.arg: word.value.value is True
        for word in call.keywords
        if word.arg is not None and isinstance(word.value, ast.Constant)
    }
    known = len(options) == len(call.keywords) and options.keys() <= _OPTIONS
    return options if known and options.get("slots") else None


def _fields(node: ast.ClassDef) -> list[_Field] | None:
    found: list[_Field] = []
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                if any(word in ast.unparse(annotation) for word in _NOT_FIELDS):
                    return None
                field = _field(name, value)
                if field is None:
                    return None
                found.append(field)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name not in _TAKEN:
                pass
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case _:
                return None
    return found if _mean_what_they_say(node, found) else None


def _mean_what_they_say(node: ast.ClassDef, fields: list[_Field]) -> bool:
    """Whether names and defaults are the same at the end of the class, and in a constant."""
    taken = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    for field in fields:
        if field.name in taken or field.name.startswith("__"):
            return False
        if field.default is None:
            continue
        if any(isinstance(part, ast.Name) and part.id in taken for part in ast.walk(field.default)):
            return False  # another field's default, or what comes before a method of that name
        taken.add(field.name)
    return True


def _field(name: str, value: ast.expr | None) -> _Field | None:
    if not (isinstance(value, ast.Call) and _is_name(value.func, "field")):
        return _Field(name, value, factory=False, shown=True)
    options = {word.arg: word.value for word in value.keywords if word.arg is not None}
    if value.args or len(options) != len(value.keywords) or not options.keys() <= _FIELD_OPTIONS:
        return None
    shown = options.pop("repr", ast.Constant(True))
    if not isinstance(shown, ast.Constant) or len(options) > 1:
        return None
    factory = "default_factory" in options
    return _Field(name, next(iter(options.values()), None), factory, shown.value is True)


def _init(fields: list[_Field], *, frozen: bool, kw_only: bool, post: bool) -> ast.FunctionDef:
    defaults = [_default(field) for field in fields]
    names = [ast.arg(field.name) for field in fields]
    if kw_only:
        arguments = ast.arguments([], [ast.arg("self")], None, names, defaults, None, [])
    else:
        given = [default for default in defaults if default is not None]
        arguments = ast.arguments([], [ast.arg("self"), *names], None, [], [], None, given)
    body: list[ast.stmt] = [_store(field, frozen) for field in fields]
    if post:
        hook = ast.Attribute(_name("self"), "__post_init__", ast.Load())
        body.append(ast.Expr(ast.Call(hook, [], [])))
    return ast.FunctionDef("__init__", arguments, body or [ast.Pass()], [], None, None, [])


def _default(field: _Field) -> ast.expr | None:
    if field.factory and field.default is not None:
        return ast.Call(_name(_NAMES["Later"]), [field.default], [])
    return field.default


def _store(field: _Field, frozen: bool) -> ast.stmt:
    value: ast.expr = _name(field.name)
    if field.factory:
        kind = ast.Attribute(_name(field.name), "__class__", ast.Load())
        is_later = ast.Compare(kind, [ast.Is()], [_name(_NAMES["Later"])])
        made = ast.Call(ast.Attribute(_name(field.name), "make", ast.Load()), [], [])
        value = ast.IfExp(is_later, made, value)
    if frozen:
        words = [_name("self"), ast.Constant(field.name), value]
        return ast.Expr(ast.Call(_name(_NAMES["set_field"]), words, []))
    return ast.Assign([ast.Attribute(_name("self"), field.name, ast.Store())], value)


def _assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
