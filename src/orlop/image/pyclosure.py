"""Which Python modules a root needs: the closure of imports, read from source and never run.

Every ``import`` statement in the source of a module counts, wherever it stands, except below
``if TYPE_CHECKING`` and ``if __name__ == "__main__"``. That finds more than a run would, so
`NEVER` cuts away the branches of the standard library that lead to what a server does not do,
and `ALSO` names what is imported by name at run time, where no statement shows it.
Both tables carry their reasons.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orlop.lib.errors import InvalidArgument

ALSO: Mapping[str, tuple[str, ...]] = {
    # The interpreter itself imports these before any of our code.
    "": ("encodings", "encodings.aliases", "encodings.utf_8", "runpy", "importlib._bootstrap"),
    # Codecs are found by name: file names and sockets use them, os.fsdecode among others.
    "encodings": ("encodings.ascii", "encodings.latin_1"),
    # getaddrinfo encodes host names with it.
    "socket": ("encodings.idna",),
    # multi-phase helpers of C modules
    "_datetime": ("_strptime",),
    "time": ("_strptime",),
}
"""Module to the modules that come with it although no statement imports them."""

NEVER: Mapping[str, str] = {
    "asyncio.windows_events": "another system",
    "asyncio.windows_utils": "another system",
    "asyncio.__main__": "the interactive shell",
    "ctypes.wintypes": "another system",
    "ctypes.macholib": "another system",
    "ctypes.util": "runs compilers to find libraries; names are known here",
    "_aix_support": "another system",
    "_osx_support": "another system",
    "_pydecimal": "the C version is there",
    "_pydatetime": "the C version is there",
    "_pyio": "the C version is there",
    "_pyrepl": "interactive",
    "_py_abc": "the C version is there",
    "_sitebuiltins": "-S",
    "site": "-S",
    "sitecustomize": "-S",
    "usercustomize": "-S",
    "code": "interactive",
    "codeop": "interactive",
    "cmd": "interactive",
    "pdb": "debugger",
    "bdb": "debugger",
    "doctest": "tests",
    "unittest": "tests",
    "test": "tests",
    "pydoc": "documentation",
    "pydoc_data": "documentation",
    "ensurepip": "packages",
    "venv": "packages",
    "tkinter": "graphics",
    "idlelib": "graphics",
    "turtle": "graphics",
    "curses": "terminals are the console's business",
    "readline": "interactive",
    "rlcompleter": "interactive",
    "multiprocessing": "imported lazily by concurrent.futures; workers are processes of ours",
    "concurrent.futures.process": "needs multiprocessing",
    "xmlrpc": "unused protocols",
    "ftplib": "unused protocols",
    "nturl2path": "another system",
    "ntpath": "another system",
    "winreg": "another system",
    "msvcrt": "another system",
    "nt": "another system",
    "_winapi": "another system",
    "_wmi": "another system",
    "_overlapped": "another system",
    "_scproxy": "another system",
    "java": "another system",
    "vms_lib": "another system",
    "lib2to3": "development",
    "distutils": "development",
    "tracemalloc": "development: named by warnings only",
    "gettext": "messages are in English; argparse falls back by our stub",
}
"""Module (with all below it) to the reason why no root has it."""


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a module, and the file name it goes by in tracebacks."""

    filename: str
    is_package: bool
    text: bytes


class Modules(Protocol):
    """What the closure asks of a module library; `orlop.image.pymodules` has the real one."""

    def exists(self, name: str) -> bool:
        """Whether *name* is a module, in whatever form."""

    def source(self, name: str) -> Source | None:
        """The text of *name*, None if it is none that was written in Python."""


def imports_of(source: Source, name: str) -> Iterator[str]:
    """The modules that the text of module *name* imports, relative names resolved.

    `from a import b` gives both `a` and `a.b`, for b may be a module.

    Raises:
        InvalidArgument: it does not parse.
    """
    try:
        tree = ast.parse(source.text, source.filename)
    except SyntaxError as error:
        raise InvalidArgument(f"{source.filename}:{error.lineno}: {error.msg}") from None
    package = name if source.is_package else name.rpartition(".")[0]
    yield from _walk(tree.body, package)


def _walk(statements: Sequence[ast.stmt], package: str) -> Iterator[str]:
    for statement in statements:
        match statement:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module, names, level):
                base = _absolute(module or "", level, package)
                if base:
                    yield base
                    yield from (f"{base}.{alias.name}" for alias in names if alias.name != "*")
            case ast.If(test, _, orelse) if _never_true(test):
                yield from _walk(orelse, package)
            case _:
                for block in _blocks(statement):
                    yield from _walk(block, package)


def _blocks(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    for _, value in ast.iter_fields(statement):
        if not isinstance(value, list):
            continue
        if value and isinstance(value[0], ast.stmt):
            yield value
        for item in value:
            if isinstance(item, ast.ExceptHandler | ast.match_case):
                yield item.body


def _absolute(module: str, level: int, package: str) -> str:
    if level == 0:
        return module
    parts = package.split(".")
    base = parts[: len(parts) - level + 1]
    return ".".join([*base, module] if module else base)


def _never_true(test: ast.expr) -> bool:
    match test:
        case ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"):
            return True
        case ast.Compare(ast.Name("__name__"), [ast.Eq()], [ast.Constant("__main__")]):
            return True
    return False


def close_imports(roots: Sequence[str], modules: Modules) -> frozenset[str]:
    """All of *modules* that *roots* need, with the packages around them.

    A name that nobody provides is skipped, as it would be a conditional import (`try: import
    winreg`) or an attribute (`from os import path`), unless it is one of *roots*.

    Raises:
        InvalidArgument: a root does not exist.
    """
    for root in roots:
        if not modules.exists(root):
            raise InvalidArgument(f"python: there is no module {root}")
    found: set[str] = set()
    waiting = [*roots, *ALSO[""]]
    while waiting:
        name = waiting.pop()
        for step in _with_parents(name):
            if step in found or is_never(step) or not modules.exists(step):
                continue
            found.add(step)
            waiting += ALSO.get(step, ())
            if source := modules.source(step):
                waiting += imports_of(source, step)
    return frozenset(found)


def is_never(name: str) -> bool:
    return any(parent in NEVER for parent in _with_parents(name))


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
