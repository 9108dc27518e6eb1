"""Write a tree as an EROFS image, the same bytes every time.

mkfs.erofs reads a tar stream, so owners and modes come from the tree and not from files on the
host, and nothing needs privileges. The file system's identifier is fixed: a machine has one.
See docs/adr/0008-system-image.md for the measurements behind the options.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from orlop.image.blobs import BlobSet
from orlop.image.tree import Directory, File, Tree, write_tar
from orlop.lib.errors import InvalidArgument

UUID = "6f726c6f-7000-4000-8000-000000000000"
LEVEL = 6
COMPRESSION = (f"-zlzma,level={LEVEL}", "-C131072", "-Efragments")
"""Ends of files are compressed together: most of ours are small, which is 7 % of the image."""
FAST_COMPRESSION = ("-zzstd,level=3", "-C65536", "-Eztailpacking")
"""For trying things out: a fifth of the time, a quarter more bytes."""

FIRST_FOLDER = "/boot"
"""mkfs.erofs goes through directories by their names: this is the first that has files."""

type Run = Callable[[Sequence[str | os.PathLike[str]]], None]


def make_erofs(
    tree: Tree,
    blobs: BlobSet,
    output: Path,
    scratch: Path,
    run: Run,
    options: Sequence[str] = COMPRESSION,
    first: Sequence[str] = (),
) -> None:
    """Write *tree* to *output*. *run* runs a command and raises when it fails.

    The files *first* share clusters with each other only: see `put_first`.
    """
    archive = scratch / "root.tar"
    with archive.open("wb") as stream:
        write_tar(put_first(tree, first), blobs, stream)
    run(mkfs_command(archive, output, options))
    archive.unlink()


def put_first(tree: Tree, paths: Sequence[str]) -> Tree:
    """*tree* with numbered links to the files at *paths* in `FIRST_FOLDER`, so that they are the
    first to be compressed; what is not there, or no file, is left out."""
    files = [node for path in paths if isinstance(node := tree.get(path), File)]
    if not files:
        return tree
    links = {f"{FIRST_FOLDER}/{number:04}": node for number, node in enumerate(files)}
    if FIRST_FOLDER in tree.nodes:
        raise InvalidArgument(f"{FIRST_FOLDER} is there already")
    return Tree({**tree.nodes, FIRST_FOLDER: Directory(), **links})


def mkfs_command(archive: Path, output: Path, options: Sequence[str]) -> list[str]:
    return [
        *("mkfs.erofs", "--quiet", "-T", "0", "-U", UUID, "-x", "-1", *options),
        *("--tar=f", str(output), str(archive)),
    ]
