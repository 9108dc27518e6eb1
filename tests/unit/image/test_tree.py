"""Roots as values, and the tar stream they become."""

import io
import tarfile
from pathlib import Path

import pytest

from orlop.image.blobs import BlobSet, BlobStore, Digest
from orlop.image.tree import Directory, File, Symlink, Tree, write_tar
from orlop.lib.errors import InvalidArgument

FILE = File(Digest("d" * 64), 3, 0o644, "one")


def merged() -> Tree:
    tree = Tree()
    tree.add("/usr/bin", Directory())
    tree.add("/bin", Symlink("usr/bin", "x"))
    return tree


def test_parents_are_made_and_links_in_them_followed() -> None:
    tree = merged()
    tree.add("/bin/a", FILE)

    assert tree.nodes["/usr/bin/a"] == FILE
    assert "/bin/a" not in tree.nodes
    assert tree.get("/bin/a") == FILE


def test_the_same_file_from_two_sources_is_no_conflict() -> None:
    tree = Tree()
    tree.add("/a", FILE)
    tree.add("/a", File(FILE.digest, 3, 0o644, "two"))

    assert tree.nodes["/a"] == FILE


def test_two_files_at_one_path_are_a_conflict_that_names_both() -> None:
    tree = Tree()
    tree.add("/a", FILE)

    with pytest.raises(InvalidArgument, match=r"/a: a link to b of two .* a file of one"):
        tree.add("/a", Symlink("b", "two"))
    tree.replace("/a", Symlink("b", "two"))
    assert tree.nodes["/a"] == Symlink("b", "two")


def test_a_file_cannot_have_children() -> None:
    tree = Tree()
    tree.add("/a", FILE)

    with pytest.raises(InvalidArgument, match="/a is a file"):
        tree.add("/a/b", FILE)


@pytest.mark.parametrize(
    ("links", "path", "end"),
    [
        ({"/a": "b"}, "/a", "/b"),
        ({"/a": "/x/y"}, "/a/c", "/x/y/c"),
        ({"/d/a": "../b"}, "/d/a", "/b"),
        ({"/a": "../../../b"}, "/a", "/b"),
        ({"/a": "b", "/b": "c"}, "/a", "/c"),
        ({}, "/no/such", "/no/such"),
    ],
)
def test_links_are_followed_inside_the_root(links: dict[str, str], path: str, end: str) -> None:
    tree = Tree()
    for place, target in links.items():
        tree.add(place, Symlink(target, "x"))

    assert tree.resolve(path) == end


def test_a_circle_of_links_is_an_error() -> None:
    tree = Tree()
    tree.add("/a", Symlink("b", "x"))
    tree.add("/b", Symlink("a", "x"))

    with pytest.raises(InvalidArgument, match="too many links"):
        tree.resolve("/a")


def test_the_stream_is_sorted_dateless_and_has_hard_links(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    same, other = store.add(b"same"), store.add(b"other")
    tree = Tree()
    tree.add("/z", File(same, 4, 0o755, "x"))
    tree.add("/images/one/a", File(same, 4, 0o755, "y"))
    tree.add("/b", File(same, 4, 0o644, "x"))
    tree.add("/c", File(other, 5, 0o644, "x", uid=101))
    tree.add("/d", Symlink("c", "x"))
    tree.add("/spool", Directory(0o750, 101))
    stream = io.BytesIO()
    write_tar(tree, BlobSet(store), stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as archive:
        members = {member.name: member for member in archive}

    assert list(members) == sorted(members)
    assert {member.mtime for member in members.values()} == {0}
    assert {member.uname for member in members.values()} == {""}
    assert members["z"].islnk()
    assert members["z"].linkname == "images/one/a"
    assert members["b"].isreg()  # another mode is another inode
    assert (members["c"].uid, members["c"].gid) == (101, 101)
    assert (members["spool"].mode, members["spool"].uid) == (0o750, 101)
    assert members["d"].linkname == "c"


def test_grafting_puts_a_root_below_a_path() -> None:
    tree, inner = Tree(), merged()
    inner.add("/bin/a", FILE)
    tree.graft(inner.nodes, "/images/web/rootfs")

    assert tree.nodes["/images/web/rootfs/usr/bin/a"] == FILE
    assert tree.nodes["/images/web/rootfs/bin"] == Symlink("usr/bin", "x")
