"""A delta between two images: what `zstd --patch-from` finds, looking into the compressed root.

Only clusters that are not in both images are looked into, and of the new image's those that
compressing gives again byte by byte, which all do that `image.erofs` has written; and the kernel,
if it is another one (`kernel_moves`). See docs/adr/0030-deltas-through-compression.md, and
`wire.recompression` for what is in a delta.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from orlop.image.erofs import LEVEL
from orlop.image.erofs_clusters import Layout, read_layout
from orlop.image.initrd import ROOT, find_member
from orlop.image.kernel_moves import find_moves
from orlop.image.pymodules import PROGRAM_FOLDER
from orlop.lib import micro_lzma, xz_stream
from orlop.lib.errors import InvalidArgument
from orlop.lib.kernel_payload import find_payload
from orlop.lib.process import run
from orlop.lib.unified_image import HEAD_BYTES, parse_sections
from orlop.wire.recompression import (
    MAX_PLAIN_BYTES,
    Cluster,
    Kernel,
    Recipe,
    format_recipe,
    gaps,
    parse_recipe,
)
from orlop.wire.relocation import relocate

COMMAND = ("zstd", "-q", "-f", "--ultra", "-22", "--single-thread")
"""The window becomes as large as the old image by itself."""
TIMEOUT_S = 1800.0

APPLIER = f"{PROGRAM_FOLDER}/orlop/wire/recompression.pyc"
"""What a system has that can compress again."""

KERNEL_APPLIER = f"{PROGRAM_FOLDER}/orlop/wire/relocation.pyc"
"""What a system has that can do so with a kernel as well."""

KERNEL_DICTIONARY_BYTES = 4 << 20
"""As os/kernel/patches/xz-dictionary.patch has it."""

AHEAD_BYTES = 4096
"""What the compressor sees of what follows, for the few clusters whose end depends on it."""


def make_delta(old: Path, new: Path, output: Path) -> None:
    """Write to *output* what makes the image *new* out of *old*, for the system in *old*.

    Raises:
        CommandError: zstd fails.
    """
    before, after = old.read_bytes(), new.read_bytes()
    recipe = plan_recipe(before, after)
    if recipe is None:
        _patch(old, new, output)
        return
    with TemporaryDirectory() as scratch:
        paths = [Path(scratch, name) for name in ("old", "new", "patch")]
        for path, image, pieces in zip(paths, (before, after), recipe.pieces, strict=False):
            path.write_bytes(expand(image, pieces, recipe))
        _patch(*paths)
        output.write_bytes(format_recipe(recipe) + paths[2].read_bytes())


def _patch(old: Path, new: Path, output: Path) -> None:
    run([*COMMAND, f"--patch-from={old}", new, "-o", output], timeout_s=TIMEOUT_S)


def plan_recipe(before: bytes, after: bytes) -> Recipe | None:
    """The clusters to look into; None if there is nothing to look into, or the system in *before*
    could not follow."""
    old, new = find_layout(before), find_layout(after)
    if old is None or new is None or APPLIER not in old.paths:
        return None
    if old.dictionary_bytes != new.dictionary_bytes:
        return None
    known, wanted = (
        {_cut(image, cluster) for cluster in layout.clusters}
        for image, layout in ((before, old), (after, new))
    )
    recipe = Recipe(
        LEVEL,
        old.dictionary_bytes,
        tuple(
            cluster
            for cluster in old.clusters
            if _cut(before, cluster) not in wanted
            and _held(before, cluster, old.dictionary_bytes) is not None
        ),
        _repeatable(
            after,
            [cluster for cluster in new.clusters if _cut(after, cluster) not in known],
            new.dictionary_bytes,
        ),
        plan_kernel(before, after) if KERNEL_APPLIER in old.paths else None,
    )
    try:
        parse_recipe(format_recipe(recipe))
    except InvalidArgument:
        return None  # more than a machine allows
    return recipe


def find_layout(image: bytes) -> Layout | None:
    """That of the root in a unified kernel image, with offsets from the beginning of *image*; None
    if it has none that can be looked into."""
    try:
        initrd = parse_sections(image[:HEAD_BYTES])[".initrd"]
        end = initrd.offset_bytes + initrd.size_bytes
        start, size = find_member(image[initrd.offset_bytes : end], ROOT)
        start += initrd.offset_bytes
        layout = read_layout(image[start : start + size])
    except (InvalidArgument, KeyError):
        return None
    clusters = (
        replace(cluster, offset_bytes=cluster.offset_bytes + start) for cluster in layout.clusters
    )
    return replace(layout, clusters=tuple(clusters))


def plan_kernel(before: bytes, after: bytes) -> Kernel | None:
    """How the kernel is looked into; None if it is the same one, or cannot be."""
    try:
        old, new = find_kernel(before), find_kernel(after)
        if _cut(before, old) == _cut(after, new):
            return None
        payloads = _unpacked(before, old), _unpacked(after, new)
        made = xz_stream.compress(memoryview(payloads[1]), KERNEL_DICTIONARY_BYTES, new.size_bytes)
        if made != _cut(after, new):
            return None
        moves = find_moves(bytes(payloads[0]), bytes(payloads[1]))
    except InvalidArgument:
        return None
    return Kernel(old, new, KERNEL_DICTIONARY_BYTES, moves)


def find_kernel(image: bytes) -> Cluster:
    """The stream of xz that the kernel of a unified kernel image holds.

    Raises:
        InvalidArgument: there is none.
    """
    place = parse_sections(image[:HEAD_BYTES]).get(".linux")
    found = place and find_payload(lambda at, size: image[at : at + size], place.offset_bytes)
    if not found or not (0 < found.plain_bytes <= MAX_PLAIN_BYTES and found.size_bytes > 0):
        raise InvalidArgument("the image has no kernel that can be looked into")
    return Cluster(*found)


def expand(image: bytes, pieces: Sequence[Cluster], recipe: Recipe) -> bytes:
    """*image* without *pieces*, and then what these hold, the old kernel with its parts where they
    are in the new one."""
    parts: list[bytes | bytearray] = [
        image[at : at + size] for at, size in gaps(len(image), pieces)
    ]
    kernel = recipe.kernel
    for piece in pieces:
        if kernel is not None and piece in (kernel.old, kernel.new):
            payload = _unpacked(image, piece)
            if piece is kernel.old:
                relocate(memoryview(payload), kernel.moves)
            parts.append(payload)
        else:
            cluster = _cut(image, piece)
            parts.append(micro_lzma.decompress(cluster, piece.plain_bytes, recipe.dictionary_bytes))
    return b"".join(parts)


def _unpacked(image: bytes, kernel: Cluster) -> bytearray:
    payload = bytearray(kernel.plain_bytes)
    xz_stream.decompress(_cut(image, kernel), memoryview(payload))
    return payload


def _cut(image: bytes, cluster: Cluster) -> bytes:
    return image[cluster.offset_bytes : cluster.offset_bytes + cluster.size_bytes]


def _held(image: bytes, cluster: Cluster, dictionary_bytes: int) -> bytes | None:
    try:
        return micro_lzma.decompress(_cut(image, cluster), cluster.plain_bytes, dictionary_bytes)
    except InvalidArgument:
        return None


def _repeatable(
    image: bytes, clusters: Sequence[Cluster], dictionary_bytes: int
) -> tuple[Cluster, ...]:
    """Those of *clusters* that come out the same once more, and with how much to look ahead."""
    found: list[Cluster] = []
    following = b""
    for cluster in reversed(clusters):  # what follows has to be known
        held = _held(image, cluster, dictionary_bytes)
        if held is None:
            continue
        for ahead in (0, AHEAD_BYTES):
            made = micro_lzma.compress(
                held + following[:ahead], cluster.size_bytes, LEVEL, dictionary_bytes
            )
            if made == (_cut(image, cluster), len(held)):
                found.append(replace(cluster, ahead_bytes=ahead))
                following = (held + following)[:AHEAD_BYTES]
                break
    return tuple(reversed(found))
