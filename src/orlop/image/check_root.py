"""What no root may have, and what each must have: checks that fail the build.

They look at the finished tree, whatever put things there, so a new package or a new service cannot
bring in by accident what the documentation says is not there. Every finding names the path.
"""

import posixpath
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from orlop.image.blobs import BlobSet
from orlop.image.elf import LIBRARY_FOLDERS, ElfCache, has_library
from orlop.image.tree import Directory, File, Symlink, Tree
from orlop.lib.errors import InvalidArgument

FORBIDDEN: Mapping[str, str] = {
    "*/apt": "a package manager",
    "*/apt-get": "a package manager",
    "*/dpkg*": "a package manager",
    "*/bin/pip*": "a package manager",
    "*/pip/*": "a package manager",
    "*/ensurepip/*": "a package manager",
    "*/systemd*": "systemd",
    "*/systemctl": "systemd",
    "*/journalctl": "systemd",
    "*/sudo": "a way to become root",
    "*/usr/bin/su": "a way to become root",
    "*/__pycache__/*": "a module twice",
    "*.py": "Python source beside compiled modules",
    "/usr/share/doc/*": "documentation",
    "/usr/share/man/*": "documentation",
    "/usr/share/locale/*": "translations",
    "/var/lib/dpkg/*": "a package manager",
}
"""Pattern to what it means. libsystemd's soname is a stub of ours, see `STUBS`."""

STUBS = frozenset({"libsystemd.so.0"})
RUN_TIME_FOLDERS = ("/run/", "/proc/", "/dev/", "/sys/", "/var/", "/tmp/")
"""Links into these have their targets at run time only."""

_WRITABLE_BY_OTHERS = 0o022
_SET_ID = 0o6000
_STICKY_DIRECTORY = 0o1777


def check_root(
    tree: Tree,
    blobs: BlobSet,
    elf: ElfCache,
    where: str = "",
    forbidden: Mapping[str, str] = FORBIDDEN,
) -> None:
    """Raise InvalidArgument with all findings in *tree*; *where* is put before each path."""
    findings = [
        f"{where}{path}: {what}"
        for path, what in (
            *_modes(tree),
            *_forbidden(tree, forbidden),
            *_links(tree),
            *_libraries(tree, blobs, elf),
        )
    ]
    if findings:
        raise InvalidArgument("the root is not as promised:\n  " + "\n  ".join(findings))


def _modes(tree: Tree) -> Iterator[tuple[str, str]]:
    for path, node in tree.nodes.items():
        match node:
            case File(mode=mode) if mode & _SET_ID:
                yield path, "set-uid or set-gid"
            case File(mode=mode) if mode & _WRITABLE_BY_OTHERS:
                yield path, f"others may write it ({mode:04o})"
            case Directory(mode) if mode & _WRITABLE_BY_OTHERS and mode != _STICKY_DIRECTORY:
                yield path, f"others may write it ({mode:04o})"


def _forbidden(tree: Tree, forbidden: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for path in tree.nodes:
        for pattern, meaning in forbidden.items():
            if fnmatchcase(path, pattern) and not _is_allowed(tree, path):
                yield path, f"{meaning} has no place here"


def _is_allowed(tree: Tree, path: str) -> bool:
    """Of what has a forbidden name: a stub, or a name of our command, which has no set-uid bit."""
    node = tree.nodes[path]
    is_ours = isinstance(node, Symlink) and posixpath.basename(node.target) == "orlop"
    return is_ours or posixpath.basename(path) in STUBS


OPENED_BY_NAME = ("libzstd.so.1", "libcrypt.so.1", "libcrypto.so.3")
"""Libraries that ours open with ctypes: `engine.store.compression`, `lib.passwords`,
`lib.signing`."""


def _links(tree: Tree) -> Iterator[tuple[str, str]]:
    for path, node in tree.nodes.items():
        if isinstance(node, Symlink):
            target = tree.resolve(path)
            if target not in tree.nodes and not (target + "/").startswith(RUN_TIME_FOLDERS):
                yield path, f"a link to {node.target}, which is not there"


def _libraries(tree: Tree, blobs: BlobSet, elf: ElfCache) -> Iterator[tuple[str, str]]:
    linked: set[str] = set()
    for path, node in tree.files():
        info = elf.read(node.digest, blobs)
        if info is None:
            continue
        wanted = {*info.needed, *([info.interpreter] if info.interpreter else [])}
        linked |= {posixpath.basename(name) for name in wanted}
        for soname in sorted(wanted):
            if not has_library(tree, soname, info):
                yield path, f"links {soname}, which is not there"
    for path, _ in tree.files():
        folder, name = posixpath.split(path)
        is_used = name in linked or name.startswith(OPENED_BY_NAME)
        if folder in LIBRARY_FOLDERS and ".so" in name and not is_used:
            yield path, "a library that nothing links"
