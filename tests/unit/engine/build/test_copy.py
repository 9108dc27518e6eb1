"""COPY and ADD without a container: contexts read, files chosen, layers written."""

from __future__ import annotations

import io
import os
import random
import tarfile
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from orlop.engine.build.archive_source import PieceSource, open_archive, unpacked
from orlop.engine.build.context_tree import ContextTree, read_context, without_ignored
from orlop.engine.build.copy_job import Copy, CopyJob
from orlop.engine.build.selection import change_mode
from orlop.engine.build.trees import DirectoryTree, EmptyTree, resolve
from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.wire.dockerfile.ignore import IgnoreRules
from orlop.wire.tar import Header, Kind, TarError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orlop.engine.build.trees import Tree

FILES: dict[str, str | None] = {
    "a.txt": "a",
    "b.txt": "bb",
    "dir": None,
    "dir/c.txt": "ccc",
    "dir/sub": None,
    "dir/sub/d.o": "dddd",
    "link": "->dir/c.txt",
    "dir/inner": "->../a.txt",
}


def archive(files: dict[str, str | None], mode: str = "w") -> bytes:
    """A tar of *files*: None is a directory, `->x` a link."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mtime, info.uid, info.gid, info.mode = 1000, 5, 6, 0o640
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o750
                tar.addfile(info)
            elif content.startswith("->"):
                info.type, info.linkname = tarfile.SYMTYPE, content[2:]
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content.encode()))
    return stream.getvalue()


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ContextTree]:
    data = archive(FILES)
    path = tmp_path / "context.tar"
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    yield ContextTree(descriptor, read_context(PieceSource(iter([data]))))
    os.close(descriptor)


@pytest.fixture
def image(tmp_path: Path) -> Iterator[DirectoryTree]:
    """A root with links that destinations lead through."""
    root = tmp_path / "root"
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "abs").symlink_to("/usr/lib")
    (root / "tmp").mkdir(mode=0o777)
    (root / "tmp").chmod(0o1777)
    (root / "file").write_text("old")
    (root / "to-file").symlink_to("file")
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0::/:\nweb:x:33:34::/:\nlone:x:7:9::/:\n")
    (root / "etc/group").write_text("root:x:0:\nweb:x:35:\nstaff:x:50:\n")
    descriptor = os.open(root, os.O_RDONLY)
    yield DirectoryTree(descriptor)
    os.close(descriptor)


@dataclass(frozen=True)
class Entry:
    """An entry of a layer."""

    info: tarfile.TarInfo
    content: str = ""


def copied(source: Tree, below: Tree, **fields: Any) -> dict[str, Entry]:
    """The layer's entries by name."""
    copy = Copy(CopyJob(**fields), source, below)
    copy.look()
    output = bytearray()
    copy.write(output.extend)
    entries: dict[str, Entry] = {}
    with tarfile.open(fileobj=io.BytesIO(bytes(output))) as tar:
        for info in tar:
            stream = tar.extractfile(info) if info.isfile() else None
            content = stream.read().decode("latin-1") if stream is not None else ""
            assert info.name not in entries, "written twice"
            entries[info.name] = Entry(info, content)
    return entries


@pytest.mark.parametrize(
    ("sources", "destination", "names"),
    [
        (["a.txt"], "/x", ["x"]),
        (["a.txt"], "/x/", ["x", "x/a.txt"]),
        (["a.txt"], "/tmp", ["tmp", "tmp/a.txt"]),
        (["a.txt", "b.txt"], "/x/y/", ["x", "x/y", "x/y/a.txt", "x/y/b.txt"]),
        (["*.txt"], "/x/", ["x", "x/a.txt", "x/b.txt"]),
        (["dir"], "/x", ["x", "x/c.txt", "x/inner", "x/sub", "x/sub/d.o"]),
        (["dir/"], "/x/", ["x", "x/c.txt", "x/inner", "x/sub", "x/sub/d.o"]),
        (["dir/*"], "/x/", ["x", "x/c.txt", "x/inner", "x/d.o"]),
        (["d?r/[c]*"], "/x/", ["x", "x/c.txt"]),
        (["link"], "/x", ["x"]),
        (["a.txt"], "/lib/", ["usr", "usr/lib", "usr/lib/a.txt"]),
        (["a.txt"], "/abs/n", ["usr", "usr/lib", "usr/lib/n"]),
        (["a.txt"], "/to-file", ["file"]),
        (["a.txt"], "/", ["a.txt"]),
        (["/a.txt"], "/x", ["x"]),
        (["./dir/../a.txt"], "/x", ["x"]),
    ],
)
def test_names(
    context: ContextTree,
    image: DirectoryTree,
    sources: list[str],
    destination: str,
    names: list[str],
) -> None:
    found = copied(context, image, sources=tuple(sources), destination=destination)
    assert sorted(found) == sorted(names)


def test_contents_owners_modes_and_times(context: ContextTree, image: DirectoryTree) -> None:
    found = copied(context, image, sources=("a.txt",), destination="/x/y")
    file, made = found["x/y"].info, found["x"].info
    assert (file.uid, file.gid, file.mode, file.mtime) == (0, 0, 0o640, 1000)
    assert found["x/y"].content == "a"
    assert (made.uid, made.gid, made.mode, made.type) == (0, 0, 0o755, tarfile.DIRTYPE)
    kept = copied(context, image, sources=("a.txt",), destination="/tmp/y")["tmp"].info
    assert kept.mode == 0o1777
    assert copied(context, image, sources=("link",), destination="/x")["x"].info.isfile()
    whole = copied(context, image, sources=(".",), destination="/x")
    assert whole["x/dir/inner"].info.linkname == "../a.txt"
    assert whole["x/dir"].info.mode == 0o750


@pytest.mark.parametrize(
    ("chown", "owner"),
    [
        ("1:2", (1, 2)),
        ("web", (33, 35)),
        ("web:staff", (33, 50)),
        ("33", (33, 33)),
        ("lone", (7, 9)),
        ("lone:", (7, 9)),
    ],
)
def test_chown(
    context: ContextTree, image: DirectoryTree, chown: str, owner: tuple[int, int]
) -> None:
    found = copied(context, image, sources=("dir",), destination="/n/m", chown=chown)
    assert {(entry.info.uid, entry.info.gid) for entry in found.values()} == {owner}


def test_chown_of_a_name_that_is_not_there(context: ContextTree, image: DirectoryTree) -> None:
    with pytest.raises(InvalidArgument, match="unable to convert uid/gid chown string"):
        copied(context, image, sources=("dir",), destination="/n", chown="nobody")


@pytest.mark.parametrize(
    ("change", "mode", "expected"),
    [
        ("755", 0o600, 0o755),
        ("4711", 0o600, 0o4711),
        ("u+x", 0o600, 0o700),
        ("u=rwX,go=rX", 0o600, 0o644),
        ("u=rwX,go=rX", 0o700, 0o755),
        ("a-w", 0o666, 0o444),
        ("+x", 0o644, 0o755),
        ("u+s", 0o755, 0o4755),
        ("o=", 0o777, 0o770),
        ("", 0o640, 0o640),
    ],
)
def test_chmod(change: str, mode: int, expected: int) -> None:
    assert change_mode(Header(name=b"", mode=mode), change).mode == expected


@pytest.mark.parametrize("change", ["9", "77777", "x+u", "u", "u*x", "u+q", "-1"])
def test_chmod_that_is_none(change: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid chmod parameter"):
        change_mode(Header(name=b""), change)


def test_parents_and_exclude(context: ContextTree, image: DirectoryTree) -> None:
    found = copied(context, image, sources=("dir/sub",), destination="/x", parents=True)
    assert sorted(found) == ["x", "x/dir", "x/dir/sub", "x/dir/sub/d.o"]
    found = copied(context, image, sources=("dir/./sub/d.o",), destination="/x/", parents=True)
    assert sorted(found) == ["x", "x/sub", "x/sub/d.o"]
    found = copied(context, image, sources=("dir",), destination="/x/", exclude=("**/*.o", "inner"))
    assert sorted(found) == ["x", "x/c.txt", "x/sub"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sources": ("none",)}, "file not found in build context or excluded by .dockerignore: "),
        ({"sources": ("none",), "is_context": False}, "^stat none: file does not exist"),
        ({"sources": ("../a",)}, "forbidden path outside the build context: ../a"),
        ({"sources": ("*.zip",)}, "no source files were specified"),
        ({"sources": ("a.txt", "b.txt")}, "When using COPY with more than one source file"),
        ({"sources": ("a.txt",), "destination": "/file/x"}, "file/x: not a directory"),
        ({"sources": ("a.txt",), "destination": "/.wh.x"}, "names that begin with .wh."),
        ({"sources": ("a.txt/b",)}, "not a directory"),
    ],
)
def test_errors(
    context: ContextTree, image: DirectoryTree, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        copied(context, image, **{"destination": "/x", **fields})


def test_digest_ignores_times_and_sees_all_else(tmp_path: Path, image: DirectoryTree) -> None:
    def digest(files: dict[str, str | None], **fields: Any) -> str:
        data = archive(files)
        (tmp_path / "c.tar").write_bytes(data)
        descriptor = os.open(tmp_path / "c.tar", os.O_RDONLY)
        tree = ContextTree(descriptor, read_context(PieceSource(iter([data]))))
        copy = Copy(CopyJob(**{"sources": (".",), "destination": "/x", **fields}), tree, image)
        found = copy.look()
        os.close(descriptor)
        return found

    first = digest(FILES)
    assert digest(dict(reversed(FILES.items()))) == first
    assert digest(FILES | {"a.txt": "b"}) != first
    assert digest(FILES | {"link": "->b.txt"}) != first
    assert digest(FILES | {"new": None}) != first
    assert digest(FILES, chmod="600") != first
    assert digest(FILES, chown="1") != first


def test_between_images(tmp_path: Path) -> None:
    root = tmp_path / "from"
    root.mkdir()
    (root / "bin").mkdir(mode=0o700)
    (root / "bin/one").write_text("x")
    os.link(root / "bin/one", root / "bin/two")
    descriptor = os.open(root, os.O_RDONLY)
    found = copied(
        DirectoryTree(descriptor), EmptyTree(), sources=("bin",), destination="/b", is_context=False
    )
    os.close(descriptor)
    assert found["b"].info.mode == 0o700
    assert found["b/two"].info.islnk()
    assert found["b/two"].info.linkname == "b/one"
    assert found["b/one"].info.uid == os.getuid()


def test_text_in_the_dockerfile(image: DirectoryTree) -> None:
    found = copied(
        EmptyTree(), image, inline=(("one", "1\n"), ("two", "2")), destination="/x/", chmod="600"
    )
    assert found["x/one"].content == "1\n"
    assert found["x/two"].info.mode == 0o600
    assert sorted(copied(EmptyTree(), image, inline=(("E", "1"),), destination="/f")) == ["f"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_add_unpacks_archives(tmp_path: Path, image: DirectoryTree, mode: str) -> None:
    from orlop.engine.store import compression

    compression.load_codecs()
    inner = archive({"d": None, "d/f": "f", "lib": None, "lib/g": "g", "s": "->d"}, mode)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        info = tarfile.TarInfo("x.tar")
        info.size = len(inner)
        tar.addfile(info, io.BytesIO(inner))
    (tmp_path / "c.tar").write_bytes(stream.getvalue())
    descriptor = os.open(tmp_path / "c.tar", os.O_RDONLY)
    tree = ContextTree(descriptor, read_context(PieceSource(iter([stream.getvalue()]))))
    found = copied(tree, image, keyword="ADD", sources=("x.tar",), destination="/")
    assert found["d/f"].content == "f"
    assert (found["d/f"].info.uid, found["d/f"].info.gid) == (5, 6)
    assert "usr/lib/g" in found
    plain = copied(tree, image, keyword="ADD", sources=("x.tar",), destination="/", unpack=False)
    assert sorted(plain) == ["x.tar"]
    assert sorted(copied(tree, image, sources=("x.tar",), destination="/y")) == ["y"]
    os.close(descriptor)


def test_an_archive_cannot_lead_out(image: DirectoryTree) -> None:
    found = read_context(PieceSource(iter([archive({"../x": "1", "/a/../../y": "2"})])))
    assert sorted(found) == ["x", "y"]
    with pytest.raises(TarError):
        read_context(PieceSource(iter([b"no tar at all" * 100])))
    with pytest.raises(TarError):
        read_context(PieceSource(iter([archive({"a": "1" * 5000})[:2000]])))
    assert open_archive(iter([b"plain"])) is None
    assert unpacked(iter([b""]))[0] == ""


def test_links_end_somewhere(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "up").symlink_to("../../../../etc")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    tree = DirectoryTree(descriptor)
    assert resolve(tree, "up/passwd") == "etc/passwd"
    with pytest.raises(InvalidArgument, match="too many levels"):
        resolve(tree, "loop")
    os.close(descriptor)


def test_what_is_ignored_leaves_its_directories(context: ContextTree) -> None:
    files = read_context(PieceSource(iter([archive(FILES)])))
    kept = without_ignored(files, IgnoreRules(["*", "!dir/sub/*.o"]))
    assert sorted(kept) == ["dir", "dir/sub", "dir/sub/d.o"]
    assert Kind(kept["dir"][0]) is Kind.DIRECTORY


@pytest.mark.parametrize("seed", range(10))
def test_damaged_archives_are_refused_or_read(seed: int, image: DirectoryTree) -> None:
    """Whatever bytes are changed: an error for people, or a context that can be copied."""
    generator = random.Random(seed)
    whole = archive(FILES | {"long/" + "n" * 200: "x", "dir/hard": "h"})
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(generator.randrange(1, 8)):
            block = generator.randrange(0, len(data) // 512) * 512
            data[min(block + generator.randrange(512), len(data) - 1)] = generator.randrange(256)
            if generator.random() < 0.5:
                _mend_checksum(data, block)
        end = len(data) if generator.random() < 0.7 else generator.randrange(len(data))
        try:
            files = read_context(PieceSource(iter([bytes(data[:end])])))
        except (TarError, InvalidArgument, ResourceExhausted):
            continue
        with tempfile.TemporaryFile() as stream:
            stream.write(data)
            stream.flush()
            tree = ContextTree(stream.fileno(), files)
            copy = Copy(CopyJob(sources=("*",), destination="/x/"), tree, image)
            try:
                copy.look()
                copy.write(lambda _: None)
            except (TarError, InvalidArgument, ResourceExhausted):
                continue


def _mend_checksum(data: bytearray, block: int) -> None:
    header = data[block : block + 512]
    header[148:156] = b" " * 8
    data[block + 148 : block + 156] = b"%06o\0 " % (sum(header) & 0o777777)
