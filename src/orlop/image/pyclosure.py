"""Which Python modules a root needs: the closure of imports, read from source and never run.

Every ``import`` statement in the source of a module counts, wherever it stands, except below
``if TYPE_CHECKING`` and ``if __name__ == "__main__"``. That finds more than a run would: the
standard library has many imports for what a server never does. `OPTIONAL` names the modules that
do not come along because somebody else's module imports them in a function, a ``try`` or an
``if``; when a module cannot even be loaded without one, when a module of ours imports it, or
`image.toml` lists it, it is there. `ALSO` names what is imported by name at run time, where no
statement shows it. Both tables carry their reasons.
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

_FOR_ANOTHER_SYSTEM = (
    *("_aix_support", "_osx_support", "_overlapped", "_scproxy", "_winapi", "_wmi", "java"),
    *("asyncio.windows_events", "asyncio.windows_utils", "ctypes.macholib", "ctypes.wintypes"),
    *("encodings.mbcs", "msvcrt", "nt", "ntpath", "nturl2path", "vms_lib", "winreg"),
)
_FOR_A_PROMPT = (
    *("_pyrepl", "_sitebuiltins", "asyncio.__main__", "bdb", "cmd", "code", "codeop", "curses"),
    *("pdb", "readline", "rlcompleter", "site", "sitecustomize", "usercustomize"),
)
_FOR_DEVELOPING = (
    *("distutils", "doctest", "ensurepip", "idlelib", "lib2to3", "pydoc", "pydoc_data"),
    *("py_compile", "test", "tkinter", "tracemalloc", "turtle", "unittest", "venv"),
)
_FOR_RARE_FUNCTIONS = (
    *("ctypes.util", "optparse", "xmlrpc", "ftplib", "csv", "getopt", "statistics", "fractions"),
    *("decimal", "argparse", "quopri"),
)
_FOR_METADATA = ("importlib.metadata", "importlib.resources", "importlib.readers", "email")
_FOR_ARCHIVES = ("tarfile", "zipfile", "bz2", "lzma", "gzip")
_DONE_IN_C = ("_pydatetime", "_pydecimal", "_pyio", "_py_abc")

OPTIONAL: Mapping[str, str] = {
    **dict.fromkeys(_FOR_ANOTHER_SYSTEM, "for another system"),
    **dict.fromkeys(_FOR_A_PROMPT, "for people at a Python prompt, which the image has not"),
    **dict.fromkeys(_FOR_DEVELOPING, "for developing"),
    **dict.fromkeys(_FOR_RARE_FUNCTIONS, "for functions and command lines that nothing calls"),
    **dict.fromkeys(_FOR_METADATA, "for packages with metadata, which the image has not"),
    **dict.fromkeys(_FOR_ARCHIVES, "for archives, which shutil can read and nothing asks it to"),
    **dict.fromkeys(_DONE_IN_C, "what they do is there in C"),
    "concurrent.futures.process": "processes are started by ourselves",
    "multiprocessing": "processes are started by ourselves",
    "gettext": "messages are in English",
    "_hashlib": "OpenSSL: hashlib has the same algorithms built in",
    "ssl": "OpenSSL: asyncio does without",
    "yaml.cyaml": "the bindings of libyaml: only short-lived workers parse YAML",
    "yaml._yaml": "the bindings of libyaml",
}
"""Module (with all below it) to the reason why the modules of others do not bring it."""


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


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name; *hard* if the importing module cannot be loaded without it."""

    name: str
    hard: bool


def imports_of(source: Source, name: str) -> Iterator[Import]:
    """What the text of module *name* imports, relative names resolved.

    `from a import b` gives both `a` and `a.b`, for b may be a module.

    Raises:
        InvalidArgument: it does not parse.
    """
    try:
        tree = ast.parse(source.text, source.filename)
    except SyntaxError as error:
        raise InvalidArgument(f"{source.filename}:{error.lineno}: {error.msg}") from None
    package = name if source.is_package else name.rpartition(".")[0]
    yield from _walk(tree.body, package, hard=True)


def _walk(statements: Sequence[ast.stmt], package: str, *, hard: bool) -> Iterator[Import]:
    for statement in statements:
        match statement:
            case ast.Import(names):
                yield from (Import(alias.name, hard) for alias in names)
            case ast.ImportFrom(module, names, level):
                base = _absolute(module or "", level, package)
                if base:
                    yield Import(base, hard)
                    found = (alias.name for alias in names if alias.name != "*")
                    yield from (Import(f"{base}.{name}", hard) for name in found)
            case ast.If(test, _, orelse) if _never_true(test):
                yield from _walk(orelse, package, hard=hard)
            case _:
                inner = hard and isinstance(statement, ast.ClassDef | ast.With)
                for block in _blocks(statement):
                    yield from _walk(block, package, hard=inner)


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
        for step in _with_parents(waiting.pop()):
            if step in found or not modules.exists(step):
                continue
            found.add(step)
            waiting += ALSO.get(step, ())
            if source := modules.source(step):
                cuts = not is_own(step) and not is_optional(step)
                waiting += [
                    imported.name
                    for imported in imports_of(source, step)
                    if imported.hard or not cuts or not is_optional(imported.name)
                ]
    return frozenset(found)


def is_own(name: str) -> bool:
    return name.partition(".")[0] == "orlop"


def is_optional(name: str) -> bool:
    """Whether *name* or a package around it is in `OPTIONAL`."""
    return any(parent in OPTIONAL for parent in _with_parents(name))


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
