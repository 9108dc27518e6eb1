"""What a boot reads lies together in the image."""

from __future__ import annotations

import pytest

from orlop.image.erofs import FIRST_FOLDER, put_first
from orlop.image.erofs_clusters import read_layout
from orlop.image.tree import Directory, File, Symlink, Tree
from orlop.lib import micro_lzma
from orlop.lib.errors import InvalidArgument
from tests.unit.image.packed_images import FILES, root, text

FILE = File("0" * 64, 1, 0o644, "x")  # type: ignore[arg-type]


def test_first_files_are_compressed_before_all_others() -> None:
    first = ("/usr/lib/small-31", "/usr/lib/small-7")
    layout = read_layout(root(first=first))
    assert layout.paths == {*FILES, f"{FIRST_FOLDER}/0000", f"{FIRST_FOLDER}/0001"}
    held = b"".join(
        micro_lzma.decompress(
            root(first=first)[cluster.offset_bytes : cluster.offset_bytes + cluster.size_bytes],
            cluster.plain_bytes,
            layout.dictionary_bytes,
        )
        for cluster in layout.clusters
    )
    small = [path for path, size_bytes in FILES.items() if size_bytes < 700_000]
    assert sorted(small, key=lambda path: held.index(text(path, FILES[path])))[:2] == [*first]


def test_what_is_no_file_any_more_is_left_out() -> None:
    tree = Tree()
    tree.add("/usr/lib/a", FILE)
    tree.add("/lib", Symlink("usr/lib", "x"))
    changed = put_first(tree, ["/gone", "/usr/lib", "/lib/a"])
    added = {path: node for path, node in changed.nodes.items() if path not in tree.nodes}
    assert added == {FIRST_FOLDER: Directory(), f"{FIRST_FOLDER}/0000": FILE}
    assert put_first(tree, ["/gone"]) is tree


def test_the_folder_must_be_free() -> None:
    tree = Tree()
    tree.add(f"{FIRST_FOLDER}/a", FILE)
    with pytest.raises(InvalidArgument):
        put_first(tree, [f"{FIRST_FOLDER}/a"])
