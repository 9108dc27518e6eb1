"""The Python modules that roots can have, where they come from and where they go.

Three places, searched in the order of `sys.path` in the machine: our own sources and third-party
packages below ``/usr/lib/orlop/python``, the standard library, its extension modules. A root gets
the closure of what it asks for (`orlop.image.pyclosure`), compiled (`orlop.image.pycompile`).
"""

import posixpath
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orlop.image import prepare
from orlop.image.blobs import BlobSet, BlobStore, Digest
from orlop.image.packages import Package
from orlop.image.pyclosure import Source
from orlop.image.pycompile import Compiled, Unit
from orlop.image.tree import File

VERSION = "3.13"
INTERPRETER = f"/usr/bin/python{VERSION}"
INTERPRETER_PACKAGES = frozenset(
    {f"python{VERSION}-minimal", f"libpython{VERSION}-minimal", f"libpython{VERSION}-stdlib"}
)
STDLIB = f"/usr/lib/python{VERSION}"
DYNLOAD = f"{STDLIB}/lib-dynload"
PROGRAM_FOLDER = "/usr/lib/orlop/python"
_DEBIAN_PACKAGES = "/usr/lib/python3/dist-packages"
OWN = "orlop"
"""Origin of our own files in manifest and sizes."""


@dataclass(frozen=True, slots=True)
class Module:
    """One module: where it goes (without suffix when it is compiled), and what it is made of."""

    name: str
    place: str
    digest: Digest
    size_bytes: int
    origin: str
    is_extension: bool
    is_package: bool

    @property
    def unit(self) -> Unit:
        """What to compile. The file name is the one the source would have in the machine."""
        return Unit(self.digest, self.place + ".py")


class ModuleLibrary:
    """All modules there are, by name; satisfies `pyclosure.Modules`."""

    def __init__(self, modules: Mapping[str, Module], builtins: frozenset[str], blobs: BlobSet):
        self.modules = modules
        self._builtins = builtins
        self._blobs = blobs

    def exists(self, name: str) -> bool:
        return name in self.modules or name in self._builtins

    def source(self, name: str) -> Source | None:
        module = self.modules.get(name)
        if module is None or module.is_extension:
            return None
        return Source(module.unit.filename, module.is_package, self._blobs.read(module.digest))

    def units(self, names: Iterable[str]) -> list[Unit]:
        """What has to be compiled of *names*: the modules that are written in Python, by name."""
        found = (self.modules[name] for name in sorted(names) if name in self.modules)
        return [module.unit for module in found if not module.is_extension]


def read_library(
    packages: Iterable[Package], own_sources: Path | None, store: BlobStore, blobs: BlobSet
) -> ModuleLibrary:
    """Index the modules of *packages* and of the folder *own_sources* (put into *store*)."""
    found: dict[str, Module] = {}
    if own_sources is not None:
        for path in sorted(own_sources.rglob("*.py")):
            relative = path.relative_to(own_sources.parent).with_suffix("").as_posix()
            data = path.read_bytes()
            place = f"{PROGRAM_FOLDER}/{relative}"
            _index(found, relative, place, store.add(data), len(data), OWN)
    for folder, target in ((_DEBIAN_PACKAGES, PROGRAM_FOLDER), (STDLIB, STDLIB)):
        for package in packages:
            for entry in package.entries:
                if entry.digest is None or not entry.path.startswith(folder + "/"):
                    continue
                relative, suffix = posixpath.splitext(entry.path[len(folder) + 1 :])
                size, origin = entry.size_bytes, package.name
                if suffix == ".py":
                    place = f"{target}/{relative}"
                    _index(found, relative, place, entry.digest, size, origin)
                elif suffix == ".so":
                    _index_extension(found, relative, target, entry.digest, size, origin)
    return ModuleLibrary(found, frozenset(sys.builtin_module_names), blobs)


def _index(
    found: dict[str, Module], relative: str, place: str, digest: Digest, size: int, origin: str
) -> None:
    name, is_package = relative.replace("/", "."), False
    if relative.endswith("/__init__"):
        name, is_package = name.removesuffix(".__init__"), True
    found.setdefault(name, Module(name, place, digest, size, origin, False, is_package))


def _index_extension(
    found: dict[str, Module], relative: str, target: str, digest: Digest, size: int, origin: str
) -> None:
    """`relative` still has the ABI tag: ``lib-dynload/_ctypes.cpython-313-x86_64-linux-gnu``."""
    name = relative.partition(".")[0].removeprefix("lib-dynload/").replace("/", ".")
    place = f"{target}/{relative}.so"
    found.setdefault(name, Module(name, place, digest, size, origin, True, False))


def place_modules(
    names: Iterable[str], library: ModuleLibrary, compiled: Mapping[Unit, Compiled]
) -> dict[str, File]:
    """The files of the modules *names*; what is built into the interpreter needs none."""
    files: dict[str, File] = {}
    for name in sorted(names):
        module = library.modules.get(name)
        if module is None:
            continue
        if module.is_extension:
            node = File(module.digest, module.size_bytes, 0o644, module.origin)
            files[module.place] = node
        else:
            result = compiled[module.unit]
            node = File(result.digest, result.size_bytes, 0o644, module.origin)
            files[program_path(module)] = node
    return files


def program_path(module: Module) -> str:
    """Where the compiled file goes; the dispatcher is what Python runs for the folder itself."""
    if module.name == "orlop.__main__":
        return f"{PROGRAM_FOLDER}/__main__.pyc"
    return module.place + ".pyc"


def python_roots(modules: Iterable[str]) -> tuple[str, ...]:
    """What an image's closure starts from: its modules, the dispatcher that starts them, and what
    compiled modules import besides what their sources do."""
    return ("orlop.__main__", prepare.MODULE, *modules)
