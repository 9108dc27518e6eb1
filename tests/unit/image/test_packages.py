"""Packages come apart safely."""

import io
import tarfile
from pathlib import Path

import pytest

from orlop.image.blobs import BlobSet, BlobStore
from orlop.image.packages import Entry, Package, merged_path, read_entries
from orlop.lib.errors import InvalidArgument


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> tarfile.TarFile:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    stream.seek(0)
    return tarfile.open(fileobj=stream, mode="r|")


def member(
    name: str, kind: bytes = tarfile.REGTYPE, *, mode: int = 0o644, link: str = ""
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.linkname = kind, mode, link
    return info


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("./usr/bin/x", "/usr/bin/x"),
        ("./lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
        ("/lib64/ld.so", "/usr/lib64/ld.so"),
        ("./library/x", "/library/x"),
        ("./", "/"),
    ],
)
def test_paths_are_those_of_a_merged_usr(name: str, path: str) -> None:
    assert merged_path(name) == path


def test_a_name_that_climbs_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="climbs"):
        merged_path("./usr/../../etc/passwd")


def test_files_links_and_hard_links(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    with archive(
        (member("./usr/", tarfile.DIRTYPE), b""),
        (member("./bin/tool", mode=0o4755), b"program"),
        (member("./usr/bin/alias", tarfile.LNKTYPE, link="./bin/tool"), b""),
        (member("./usr/bin/sh", tarfile.SYMTYPE, link="/bin/tool"), b""),
    ) as tar:
        tool, alias, link = read_entries(tar, store)

    assert (tool.path, tool.mode, tool.size_bytes) == ("/usr/bin/tool", 0o755, 7)
    assert alias.digest == tool.digest
    assert (link.path, link.kind, link.target) == ("/usr/bin/sh", "link", "/usr/bin/tool")
    assert tool.digest is not None
    assert BlobSet(store).read(tool.digest) == b"program"


@pytest.mark.parametrize(
    "odd",
    [
        member("./dev/null", tarfile.CHRTYPE),
        member("./run/pipe", tarfile.FIFOTYPE),
        member("./usr/bin/x", tarfile.LNKTYPE, link="./nowhere"),
        member("../x"),
    ],
)
def test_what_no_package_should_have_is_refused(odd: tarfile.TarInfo, tmp_path: Path) -> None:
    with archive((odd, b"")) as tar, pytest.raises(InvalidArgument):
        list(read_entries(tar, BlobStore(tmp_path)))


def test_a_package_survives_json() -> None:
    entry = Entry("/x", "link", target="y")
    package = Package("name", "1:2-3", "source", "2-3", (entry,))

    assert Package.from_json(package.to_json()) == package


def test_the_same_bytes_are_stored_once(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)

    assert store.add(b"one") == store.add(b"one") != store.add(b"two")
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
