"""Archives made and unpacked: build contexts, what `cp` copies, hostile containers."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from orlop.cli.docker import build_context, copying
from orlop.cli.docker.archive import END, Archive
from orlop.cli.docker.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def listed(parts: Iterable[bytes]) -> dict[str, tarfile.TarInfo]:
    data = io.BytesIO(b"".join(parts))
    with tarfile.open(fileobj=data) as archive:
        return {member.name: member for member in archive}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub/deep").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "a.log").write_text("a")
    (root / "sub/b.log").write_text("b" * 1000)
    (root / "sub/deep/c").write_text("c")
    (root / "link").symlink_to("a.log")
    os.link(root / "a.log", root / "same")
    return root


def test_a_context_is_the_folder_owned_by_root(tree: Path) -> None:
    context = build_context.of(str(tree), "")
    members = listed(context.parts)
    assert context.dockerfile == "Dockerfile"
    assert list(members) == [
        *("Dockerfile", "a.log", "link", "same", "sub", "sub/b.log", "sub/deep", "sub/deep/c"),
    ]
    assert {member.uid for member in members.values()} == {0}
    assert members["same"].islnk()
    assert members["link"].linkname == "a.log"


@pytest.mark.parametrize(
    ("rules", "names"),
    [
        ("**/*.log", ["Dockerfile", "link", "same", "sub", "sub/deep", "sub/deep/c"]),
        ("*\n!sub/deep", ["Dockerfile", "sub", "sub/deep", "sub/deep/c"]),
        ("*", ["Dockerfile"]),
        ("sub", ["Dockerfile", "a.log", "link", "same"]),
    ],
)
def test_dockerignore(tree: Path, rules: str, names: list[str]) -> None:
    (tree / ".dockerignore").write_text(rules)
    found = list(listed(build_context.of(str(tree), "").parts))
    assert [name for name in found if name != ".dockerignore"] == names
    assert ".dockerignore" in found


def test_a_dockerfile_from_elsewhere_comes_along(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "Other").write_text("FROM other\n")
    context = build_context.of(str(tree), str(tmp_path / "Other"))
    assert context.dockerfile == build_context.STDIN_DOCKERFILE
    assert context.dockerfile in listed(context.parts)


def test_contexts_that_are_none(tmp_path: Path) -> None:
    for source, file in ((str(tmp_path / "no"), ""), ("https://x/y", ""), (str(tmp_path), "")):
        with pytest.raises(Failure, match="unable to prepare context"):
            build_context.of(source, file)


def test_a_folder_there_and_back(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    parts = copying.archive_of(str(tree), "new", keep_owner=False)
    copying.unpack(parts, str(target), rename=("new", "new"), keep_owner=False)
    assert (target / "new/sub/b.log").read_text() == "b" * 1000
    assert os.readlink(target / "new/link") == "a.log"
    assert (target / "new/same").stat().st_ino == (target / "new/a.log").stat().st_ino


def _hostile(*members: tuple[str, bytes, str]) -> Iterable[bytes]:
    for name, kind, link in members:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        yield info.tobuf()
    yield END


@pytest.mark.parametrize(
    "members",
    [
        [("x/../../evil", tarfile.AREGTYPE, "")],
        [("x/out", tarfile.SYMTYPE, "/tmp"), ("x/out/evil", tarfile.AREGTYPE, "")],
        [("x/hard", tarfile.LNKTYPE, "../../etc/passwd")],
    ],
)
def test_nothing_is_written_outside(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    target = tmp_path / "in"
    target.mkdir()
    with pytest.raises(Failure):
        copying.unpack(_hostile(*members), str(target), rename=("x", "x"), keep_owner=False)
    assert not list(tmp_path.glob("evil"))


def test_a_folder_is_not_overwritten_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(Failure, match="cannot overwrite directory"):
        copying.unpack(
            _hostile(("x", tarfile.AREGTYPE, "")),
            str(tmp_path),
            rename=("x", "x"),
            keep_owner=False,
        )


@pytest.mark.parametrize(
    ("target", "exists", "is_folder", "source", "place"),
    [
        ("/a", True, True, True, ("/a", "")),
        ("/a/b", False, False, True, ("/a", "b")),
        ("/a/b", False, False, False, ("/a", "b")),
        ("/a/b/", False, False, True, ("/a", "b")),
        ("/b", True, False, False, ("/", "b")),
    ],
)
def test_where_things_go(
    target: str, exists: bool, is_folder: bool, source: bool, place: tuple[str, str]
) -> None:
    found = copying.place(target, exists=exists, is_folder=is_folder, source_is_folder=source)
    assert found == place


def test_where_things_do_not_go() -> None:
    with pytest.raises(Failure, match="cannot copy directory"):
        copying.place("/a", exists=True, is_folder=False, source_is_folder=True)
    with pytest.raises(Failure, match="no such directory"):
        copying.place("/a/", exists=False, is_folder=False, source_is_folder=False)


def test_a_shrinking_file_keeps_the_archive_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2_000)
    parts = Archive().entry(str(path), "file")
    head = next(parts)
    path.write_bytes(b"")
    data = head + b"".join(parts) + END
    assert listed([data])["file"].size == 2_000
