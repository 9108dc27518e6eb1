"""Put one root together from its description: a pure function from lists to a `Tree`.

The order matters: skeleton, chosen files, build results, our Python and the interpreter,
applets and links, the service's own files, then the libraries that all of these link.
Writing comes later and elsewhere (`orlop.image.root`).
"""

import posixpath
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from orlop.image.blobs import BlobSet, BlobStore
from orlop.image.contents import ImageContents
from orlop.image.elf import ElfCache, Library, close_libraries
from orlop.image.packages import Entry, Package
from orlop.image.pymodules import DYNLOAD, INTERPRETER, INTERPRETER_PACKAGES, OWN
from orlop.image.tree import Directory, File, Symlink, Tree
from orlop.lib.errors import InvalidArgument

MOUNT_POINTS = ("/dev", "/etc", "/proc", "/run", "/sys", "/var", "/var/lib", "/var/log")
MERGED_USR = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}
BUSYBOX = "/usr/bin/busybox"
NOBODY = 65534
_NSSWITCH = b"passwd: files\ngroup: files\nhosts: files dns\n"
# The engine mounts the machine's files over these; a mount needs a file to cover.
_COVERED_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that roots are made from; `builds` has the files of each build by name."""

    packages: Mapping[str, Package]
    libraries: Mapping[str, Library]
    builds: Mapping[str, Mapping[str, File]]
    blobs: BlobSet
    store: BlobStore
    elf: ElfCache

    def file(self, data: bytes, origin: str, mode: int = 0o644, uid: int = 0) -> File:
        """A file with *data*, stored."""
        return File(self.store.add(data), len(data), mode, origin, uid)


def assemble(
    contents: ImageContents,
    overlay: Path | None,
    python: Mapping[str, File],
    sources: Sources,
    *,
    base: bool = False,
) -> Tree:
    """The root that *contents* describes, with *python* modules and the files below *overlay*.

    The *base* root has links for the files that the engine provides at run time, a service
    image has empty files for the engine to mount over.

    Raises:
        InvalidArgument: a package, build or module that does not exist, a glob that matches
            nothing, or two sources of one path.
    """
    tree = Tree()
    _add_skeleton(tree, contents, sources, base=base)
    _add_packages(tree, contents, sources)
    for name in contents.build:
        if name not in sources.builds:
            raise InvalidArgument(f"{contents.source}: build: there is no build {name}")
        for path, node in sorted(sources.builds[name].items()):
            if not _is_excluded(path, contents):
                tree.add(path, node)
    if contents.python:
        _add_python(tree, contents, python, sources)
    _add_applets(tree, contents, sources)
    for path, target in contents.links.items():
        tree.add(path, Symlink(target, OWN))
    if overlay is not None and overlay.is_dir():
        _add_overlay(tree, overlay, sources)
    close_libraries(tree, sources.libraries, sources.blobs, sources.elf)
    return tree


def _add_skeleton(tree: Tree, contents: ImageContents, sources: Sources, *, base: bool) -> None:
    for path, target in MERGED_USR.items():
        tree.add("/" + target, Directory())
        tree.add(path, Symlink(target, OWN))
    for path in MOUNT_POINTS:
        tree.add(path, Directory())
    tree.add("/root", Directory(0o700))
    tree.add("/tmp", Directory(0o1777))
    for path, spec in contents.directories.items():
        tree.add(path, Directory(spec.mode, contents.users.get(spec.owner, 0)))
    for path, text in (("/etc/passwd", passwd), ("/etc/group", group)):
        if path not in contents.links:
            tree.add(path, sources.file(text(contents.users), OWN))
    tree.add("/etc/nsswitch.conf", sources.file(_NSSWITCH, OWN))
    for path in _COVERED_FILES:
        if base:
            tree.add(path, Symlink(f"/run/orlop{path}", OWN))
        elif path not in contents.links:
            tree.add(path, sources.file(b"", OWN))


def passwd(users: Mapping[str, int]) -> bytes:
    rows = [("root", 0, "/root", "/bin/sh")]
    rows += [(name, number, "/", "/usr/sbin/nologin") for name, number in sorted(users.items())]
    rows += [("nobody", NOBODY, "/", "/usr/sbin/nologin")]
    lines = [f"{name}:x:{uid}:{uid}:{name}:{home}:{shell}\n" for name, uid, home, shell in rows]
    return "".join(lines).encode()


def group(users: Mapping[str, int]) -> bytes:
    rows = [("root", 0), ("tty", 5), *sorted(users.items()), ("nogroup", NOBODY)]
    return "".join(f"{name}:x:{gid}:\n" for name, gid in rows).encode()


def _add_packages(tree: Tree, contents: ImageContents, sources: Sources) -> None:
    entries: list[tuple[Entry, str]] = []
    for name in sorted(contents.all_packages):
        package = sources.packages.get(name)
        if package is None:
            raise InvalidArgument(
                f"{contents.source}: packages: {name} is not in the lock",
                hint="refresh the lock: ./orlop lock",
            )
        entries += [(entry, name) for entry in package.entries]
    patterns = [*contents.files, *([BUSYBOX] if contents.busybox else [])]
    for pattern in patterns:
        chosen = [pair for pair in entries if fnmatchcase(pair[0].path, pattern)]
        if not chosen:
            raise InvalidArgument(f"{contents.source}: files: nothing matches {pattern}")
        for entry, origin in chosen:
            if not _is_excluded(entry.path, contents):
                tree.add(entry.path, entry_node(entry, origin))


def _is_excluded(path: str, contents: ImageContents) -> bool:
    return any(fnmatchcase(path, excluded) for excluded in contents.exclude)


def entry_node(entry: Entry, origin: str) -> File | Symlink:
    if entry.digest is None:
        return Symlink(entry.target, origin)
    # Packages differ in their modes without meaning; what equals in content should be one inode.
    mode = 0o755 if entry.mode & 0o111 else 0o644
    return File(entry.digest, entry.size_bytes, mode, origin)


def _add_python(
    tree: Tree, contents: ImageContents, modules: Mapping[str, File], sources: Sources
) -> None:
    for name in sorted(INTERPRETER_PACKAGES):
        if name not in sources.packages:
            raise InvalidArgument(f"{contents.source}: python: {name} is not in the lock")
        for entry in sources.packages[name].entries:
            if entry.path == INTERPRETER:
                tree.add(entry.path, entry_node(entry, name))
    tree.add(DYNLOAD, Directory())  # without it Python complains at each start
    for path, node in sorted(modules.items()):
        tree.add(path, node)


def _add_applets(tree: Tree, contents: ImageContents, sources: Sources) -> None:
    busybox = tree.get(BUSYBOX)
    if not contents.busybox or not isinstance(busybox, File):
        return
    # The names are one table of strings in the program, each ended by a zero byte.
    names = frozenset(sources.blobs.read(busybox.digest).split(b"\0"))
    for applet in contents.busybox:
        if applet.encode() not in names:
            raise InvalidArgument(f"{contents.source}: busybox: it has no {applet}")
        tree.add(f"/usr/bin/{applet}", Symlink("busybox", "busybox"))


def _add_overlay(tree: Tree, overlay: Path, sources: Sources) -> None:
    for path in sorted(overlay.rglob("*")):
        place = "/" + path.relative_to(overlay).as_posix()
        if path.is_symlink():
            tree.replace(place, Symlink(str(path.readlink()), OWN))
        elif path.is_file():
            # Git keeps one bit of a mode, so that is all a checkout can be trusted to have.
            mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
            tree.replace(place, sources.file(path.read_bytes(), OWN, mode))
        elif place not in tree.nodes and posixpath.basename(place):
            tree.add(place, Directory())
