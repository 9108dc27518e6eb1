"""Names and modes as Docker's clients want them, and archives without a container."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from orlop.engine.archives import archive_worker, tar_reader, tar_writer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("path", "name"),
    [("/", "/"), ("/a", "a"), ("/a/b/", "b"), ("/a/.", "."), ("/.", "."), ("//", "/")],
)
def test_base_names(path: str, name: str) -> None:
    assert archive_worker.base_name(path) == name


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (stat.S_IFREG | 0o644, 0o644),
        (stat.S_IFDIR | 0o1777, 1 << 31 | 1 << 20 | 0o777),
        (stat.S_IFREG | 0o4755, 1 << 23 | 0o755),
        (stat.S_IFCHR | 0o600, 1 << 26 | 1 << 21 | 0o600),
        (stat.S_IFLNK | 0o777, 1 << 27 | 0o777),
    ],
)
def test_modes_as_go_has_them(mode: int, expected: int) -> None:
    assert archive_worker.go_mode(mode) == expected


def write(path: Path, name: str) -> bytes:
    reading, writing = os.pipe()
    try:
        tar_writer.write_tree(writing, os.fspath(path), name)
    finally:
        os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        return stream.read()


def unpack(data: bytes, directory: Path, *, keep_kind: bool = False) -> None:
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    before = os.open(".", os.O_RDONLY)
    os.chdir(directory)
    try:
        tar_reader.unpack(reading, (os.getuid(), os.getgid()), keep_kind=keep_kind)
    finally:
        os.fchdir(before)
        os.close(before)
        os.close(reading)


def test_there_and_back(tmp_path: Path) -> None:
    tree, copy = tmp_path / "tree", tmp_path / "copy"
    (tree / "sub").mkdir(parents=True)
    copy.mkdir()
    (tree / "file").write_bytes(b"x" * 700)
    (tree / "file").chmod(0o640)
    os.link(tree / "file", tree / "sub/same")
    (tree / "sub/link").symlink_to("../file")
    (tree / ("n" * 200)).touch()
    os.mkfifo(tree / "pipe")
    os.utime(tree / "sub", (1000, 1000))

    unpack(write(tree, "tree"), copy)

    made = copy / "tree"
    assert (made / "file").read_bytes() == b"x" * 700
    assert (made / "file").stat().st_mode & 0o7777 == 0o640
    assert (made / "sub/same").stat().st_ino == (made / "file").stat().st_ino
    assert os.readlink(made / "sub/link") == "../file"
    assert (made / ("n" * 200)).exists()
    assert stat.S_ISFIFO((made / "pipe").stat().st_mode)
    assert (made / "sub").stat().st_mtime == 1000


def test_names_below_a_dot_and_the_root(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    for name, expected in ((".", [".", "./a"]), ("/", ["", "/a"]), ("x", ["x", "x/a"])):
        with tarfile.open(fileobj=io.BytesIO(write(tmp_path, name))) as tar:
            assert [member.name for member in tar] == expected


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", ".."])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(ValueError, match="outside"):
        unpack(data.getvalue(), tmp_path)


def test_every_cut_is_noticed_or_harmless(tmp_path: Path) -> None:
    source, target = tmp_path / "s", tmp_path / "t"
    source.mkdir()
    target.mkdir()
    (source / "f").write_bytes(b"y" * 1500)
    data = write(source / "f", "f")
    for size in range(513, 512 + 1500, 97):
        with pytest.raises((ValueError, OSError)):
            unpack(data[:size], target)
    unpack(data, target)
    assert (target / "f").read_bytes() == b"y" * 1500


def test_a_mount_point_is_never_made_through_a_link(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    (root / "link").symlink_to(outside)
    (root / "up").symlink_to("../outside")

    for target in ("/link", "/up"):
        with pytest.raises(FileNotFoundError):
            archive_worker.ensure_target(os.fspath(root), target, is_directory=False)
    os.close(archive_worker.ensure_target(os.fspath(root), "/new/file", is_directory=False))

    assert not outside.exists()
    assert (root / "new/file").is_file()
