"""Unified kernel images with a small root, compressed as that of the system is."""

from __future__ import annotations

import functools
import io
import os
import random
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.image.blobs import BlobSet, BlobStore
from orlop.image.delta_maker import APPLIER, KERNEL_APPLIER
from orlop.image.erofs import make_erofs
from orlop.image.initrd import Member, initrd_members, write_cpio
from orlop.image.tree import File, Tree
from orlop.lib.process import run
from tests.unit.lib.test_unified_image import image as unified_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORDS = [random.Random(number).randbytes(3).hex().encode() for number in range(3000)]
KERNEL = random.Random(1).randbytes(50_000)
FILES = {
    "/usr/bin/large": 700_000,
    **{f"/usr/lib/small-{number}": 30_000 for number in range(40)},
    APPLIER: 1000,
    KERNEL_APPLIER: 1000,
}


def _run(command: Sequence[str | os.PathLike[str]]) -> None:
    run(command)


def text(name: str, size_bytes: int) -> bytes:
    """What compresses to a quarter, the same for the same name."""
    source = random.Random(name)
    return b" ".join(source.choices(WORDS, k=size_bytes // 7))


@functools.cache
def root(changed: bytes = b"", without: str = "", first: tuple[str, ...] = ()) -> bytes:
    """An EROFS image: `FILES` but *without* one, and *changed* before the first small one; what
    is *first* is put first."""
    tree = Tree()
    with tempfile.TemporaryDirectory() as name:
        store = BlobStore(Path(name, "blobs"))
        for path, size_bytes in FILES.items():
            data = text(path, size_bytes)
            if path.endswith("small-0"):
                data = changed + data
            if path != without:
                tree.add(path, File(store.add(data), len(data), 0o644, "test"))
        output = Path(name, "os.erofs")
        make_erofs(tree, BlobSet(store), output, Path(name), _run, first=first)
        return output.read_bytes()


@functools.cache
def image(changed: bytes = b"", without: str = "", kernel: bytes = KERNEL) -> bytes:
    """A unified kernel image with that root."""
    with tempfile.TemporaryDirectory() as name:
        init, system = Path(name, "init"), Path(name, "os.erofs")
        init.write_bytes(b"#!init")
        system.write_bytes(root(changed, without))
        stream = io.BytesIO()
        write_cpio([*initrd_members(init, system), Member("last", stat.S_IFREG, init)], stream)
    build = f"{len(changed):016x}".encode()
    return unified_image(
        (
            (".osrel", b"ID=orlop\nVERSION_ID=1.0\nBUILD_ID=" + build + b"\n"),
            (".cmdline", b"quiet\0"),
            (".linux", kernel),
            (".initrd", stream.getvalue()),
        )
    )


def _any_room(_: int) -> None:
    pass


def applied(
    old: bytes,
    delta: bytes,
    size_bytes: int,
    place: Path,
    check_room: Callable[[int], None] = _any_room,
) -> bytes:
    """What the machine makes of *old* and *delta*, in the folder *place*."""
    from orlop.system.updates import delta as deltas

    (place / "old").write_bytes(old)
    (place / "delta").write_bytes(delta)
    base = os.open(place / "old", os.O_RDONLY)
    before = Path.cwd()
    os.chdir(place)
    try:
        deltas.apply(base, "delta", "made", size_bytes, check_room)
    finally:
        os.chdir(before)
        os.close(base)
    return (place / "made").read_bytes()
