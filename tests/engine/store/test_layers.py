"""Layers look as other people's code unpacks them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.lib import mount
from tests.engine.store import reference_layers as reference
from tests.engine.store.archives import LayerBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def place(images: Path) -> Iterator[Path]:
    """A directory for mounts, in this process's own namespaces."""
    directory = Path(tempfile.mkdtemp(prefix="layers-"))
    yield directory
    for entry in reversed(mount.read_mounts()):
        if entry.target.is_relative_to(directory):
            mount.detach(entry.target)
    shutil.rmtree(directory)


def compare(
    place: Path,
    layers: list[bytes],
    unpack: Callable[[Path, Path], None] = reference.unpack_with_tar,
) -> None:
    """Both ways of stacking *layers* give the same tree."""
    ours, theirs = [], []
    for number, data in enumerate(layers):
        layer = place / f"layer{number}.tar"
        layer.write_bytes(data)
        reference.mount_layer(layer, place / f"ours{number}")
        unpack(layer, place / f"theirs{number}")
        ours.append(place / f"ours{number}")
        theirs.append(place / f"theirs{number}")
    reference.mount_overlay(ours, place / "ours")
    reference.mount_overlay(theirs, place / "theirs")
    expected, found = reference.describe(place / "theirs"), reference.describe(place / "ours")
    assert sorted(found) == sorted(expected)
    for name, entry in expected.items():
        assert found[name] == entry, name


@pytest.mark.parametrize("seed", range(24))
def test_random_layers(place: Path, seed: int) -> None:
    source = random.Random(seed)

    layers = [reference.RandomLayer(source).make(60) for _ in range(3)]

    compare(place, layers, reference.unpack)


def test_capabilities(place: Path) -> None:
    layer = LayerBuilder().add("ping", b"x", mode=0o755).finish()
    # Python writes PAX values as UTF-8, which a capability is not: so its record is made by hand.
    record = b"SCHILY.xattr.security.capability=" + reference.CAPABILITY + b"\n"
    size = len(record) + 3
    pax = tarfile.TarInfo("pax")
    pax.type = tarfile.XHDTYPE
    pax.size = size
    data = b"%d " % size + record
    padded = data + bytes(-len(data) % 512)

    compare(place, [pax.tobuf(tarfile.USTAR_FORMAT) + padded + layer])

    assert os.getxattr(place / "ours/ping", "security.capability") == reference.CAPABILITY


@pytest.mark.parametrize("form", ["gnu", "posix", "posix-0.0", "posix-0.1"])
def test_sparse_files(place: Path, form: str) -> None:
    source = place / "source"
    source.mkdir()
    with open(source / "sparse", "wb") as stream:
        for offset in (0, 1 << 20, 3 << 20, 7 << 20):
            stream.seek(offset)
            stream.write(os.urandom(8192))
        stream.seek((9 << 20) - 100)
        stream.write(b"end" * 33 + b"\0")
    with open(source / ("hole" + "n" * 120), "wb") as stream:
        stream.truncate(5_000_000)
    with open(source / "many", "wb") as stream:
        for piece in range(60):
            stream.seek(piece * 65536)
            stream.write(bytes([piece]) * 4096)
    words = form.split("-")
    options = [f"--sparse-version={words[1]}"] if len(words) > 1 else []
    subprocess.run(
        ["tar", "--create", f"--format={words[0]}", "--sparse", *options,
         "--file", place / "made.tar", "--directory", source, "."],
        check=True,
    )  # fmt: skip
    made = (place / "made.tar").read_bytes()
    assert len(made) < 2_000_000

    compare(place, [made])


def test_old_and_large_numbers(place: Path) -> None:
    v7 = LayerBuilder(tarfile.USTAR_FORMAT).directory("./a")
    v7.add("./a/b", b"1").add("/abs", b"2")
    gnu = LayerBuilder(tarfile.GNU_FORMAT)
    gnu.add("old", b"3", mtime=-1_000_000, uid=4_000_000_000)
    gnu.directory("./", uid=7).add("./top", b"4")

    compare(place, [v7.finish(), gnu.finish()])


def test_many_entries_in_one_directory(place: Path) -> None:
    layer = LayerBuilder().directory("d")
    for number in range(3000):
        layer.add(f"d/file-{number}", b"%d" % number)

    compare(place, [layer.finish()])


def test_links_lead_on_within_the_layer(place: Path) -> None:
    layer = LayerBuilder().directory("usr").directory("usr/bin").link("bin", "usr/bin")
    layer.link("abs", "/usr").add("bin/tool", b"x").add("abs/lib", b"y")
    path = place / "layer.tar"
    path.write_bytes(layer.finish())

    reference.mount_layer(path, place / "ours")

    assert (place / "ours/usr/bin/tool").read_bytes() == b"x"
    assert (place / "ours/usr/lib").read_bytes() == b"y"
    assert os.readlink(place / "ours/bin") == "usr/bin"


def test_attributes_of_overlayfs_are_not_taken_from_an_archive(place: Path) -> None:
    layer = LayerBuilder()
    layer.directory("d", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/secret"})
    path = place / "layer.tar"
    path.write_bytes(layer.finish())

    reference.mount_layer(path, place / "ours")

    assert os.listxattr(place / "ours/d") == []
