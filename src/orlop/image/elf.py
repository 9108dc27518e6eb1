"""What an ELF file needs to run, and where those libraries come from.

Only the dynamic section and the program interpreter are read. The closure decides which libraries
a root holds: a library is there when something in that root links it, and only then. Libraries
opened by name at run time (`dlopen`) have to be listed in `image.toml`; the ones that glibc
itself opens are in `GLIBC_OPENS`.
"""

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from orlop.image.blobs import BlobSet, Digest
from orlop.image.packages import Entry, Package
from orlop.image.tree import File, Tree
from orlop.lib.errors import InvalidArgument

LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib", "/usr/lib64")
_MAGIC = b"\x7fELF"


@dataclass(frozen=True, slots=True)
class ElfInfo:
    """`needed` are sonames; `interpreter` is empty for libraries and static programs."""

    needed: tuple[str, ...]
    soname: str
    interpreter: str
    search_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Library:
    """A file that provides a soname, and the package or build it comes from."""

    entry: Entry
    origin: str


def read_elf(path: Path) -> ElfInfo | None:
    """What the file at *path* links, or None if it is no ELF file or not linked dynamically.

    Raises:
        InvalidArgument: it begins like an ELF file and is broken.
    """
    with path.open("rb") as stream:
        if stream.read(4) != _MAGIC:
            return None
        try:
            return _read(ELFFile(stream))
        except ELFError as error:
            raise InvalidArgument(f"{path}: broken ELF file: {error}") from None


def _read(elf: ELFFile) -> ElfInfo | None:
    needed: list[str] = []
    paths: list[str] = []
    soname = interpreter = ""
    dynamic = False
    for segment in elf.iter_segments():
        kind = segment["p_type"]
        if kind == "PT_INTERP":
            interpreter = segment.get_interp_name()
        elif isinstance(segment, DynamicSegment):
            dynamic = True
            for tag in segment.iter_tags():
                match tag.entry.d_tag:
                    case "DT_NEEDED":
                        needed.append(tag.needed)
                    case "DT_SONAME":
                        soname = tag.soname
                    case "DT_RUNPATH":
                        paths += tag.runpath.split(":")
                    case "DT_RPATH":
                        paths += tag.rpath.split(":")
    return ElfInfo(tuple(needed), soname, interpreter, tuple(paths)) if dynamic else None


def index_libraries(packages: Iterable[Package]) -> dict[str, Library]:
    """Sonames (file and link names in the library folders) to the files that provide them."""
    found: dict[str, Library] = {}
    for package in packages:
        by_path = {entry.path: entry for entry in package.entries}
        for entry in package.entries:
            folder, name = posixpath.split(entry.path)
            if folder not in LIBRARY_FOLDERS or ".so" not in name:
                continue
            real: Entry | None = entry
            if entry.kind == "link":
                target = posixpath.normpath(posixpath.join(folder, entry.target))
                real = by_path.get(target)  # a link into another package is that package's affair
            if real is not None and real.kind == "file":
                found.setdefault(name, Library(real, package.name))
    return found


def close_libraries(
    tree: Tree, libraries: Mapping[str, Library], blobs: BlobSet, infos: "ElfCache"
) -> None:
    """Add to *tree*, until nothing is missing, each library that something in it links.

    A library is put under its soname, the only name the dynamic linker asks for.

    Raises:
        InvalidArgument: nobody provides a soname; says who wants it.
    """
    waiting = list(tree.files())
    while waiting:
        path, node = waiting.pop()
        info = infos.read(node.digest, blobs)
        if info is None:
            continue
        for soname in _wanted(info):
            if has_library(tree, soname, info):
                continue
            library = libraries.get(posixpath.basename(soname))
            if library is None or library.entry.digest is None:
                raise InvalidArgument(
                    f"{path} links {soname}, which no package in the lock provides",
                    hint="add the package to `packages`, then refresh the lock",
                )
            folder = posixpath.dirname(soname) or LIBRARY_FOLDERS[0]
            entry = library.entry
            added = File(library.entry.digest, entry.size_bytes, entry.mode, library.origin)
            place = posixpath.join(folder, posixpath.basename(soname))
            tree.add(place, added)
            waiting.append((place, added))


def has_library(tree: Tree, soname: str, info: ElfInfo) -> bool:
    """Whether the dynamic linker would find *soname* in *tree*."""
    if soname.startswith("/"):
        return isinstance(tree.get(soname), File)
    folders = (*info.search_paths, *LIBRARY_FOLDERS)
    return any(isinstance(tree.get(posixpath.join(folder, soname)), File) for folder in folders)


def _wanted(info: ElfInfo) -> Iterator[str]:
    if info.interpreter:
        yield info.interpreter
    yield from info.needed


class ElfCache:
    """`read_elf` by digest: the same library sits in many trees."""

    def __init__(self) -> None:
        self._known: dict[Digest, ElfInfo | None] = {}

    def read(self, digest: Digest, blobs: BlobSet) -> ElfInfo | None:
        if digest not in self._known:
            self._known[digest] = read_elf(blobs.path(digest))
        return self._known[digest]
