"""The initrd's archive, byte for byte."""

import io
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from orlop.image.initrd import Member, find_member, initrd_members, write_cpio
from orlop.lib.errors import InvalidArgument


def written(members: list[Member]) -> bytes:
    stream = io.BytesIO()
    write_cpio(members, stream)
    return stream.getvalue()


def test_the_bytes_of_a_small_archive(tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"12345")
    data = written([Member("a", stat.S_IFREG | 0o644, source)])

    # magic, inode, mode, uid, gid, links, mtime, size, device, special device, name size, checksum
    first = b"070701" + b"00000001000081A4" + b"00000000" * 2 + b"0000000100000000"
    first += b"00000005" + b"00000000" * 4 + b"0000000200000000" + b"a\0" + b"12345" + b"\0" * 3
    last = b"070701" + b"00000000" * 4 + b"00000001" + b"00000000" * 6 + b"0000000B00000000"
    last += b"TRAILER!!!\0"
    assert data == (first + last).ljust(512, b"\0")


def test_the_kernels_own_members(tmp_path: Path) -> None:
    init, image = tmp_path / "init", tmp_path / "image"
    init.write_bytes(b"#")
    image.write_bytes(b"erofs")
    members = {member.name: member for member in initrd_members(init, image)}

    assert members["init"].mode == stat.S_IFREG | 0o755
    assert members["dev/console"].device == (5, 1)
    assert stat.S_ISDIR(members["root"].mode)
    assert members["os.erofs"].source == image


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"x" * 1000)
    shutil.copyfile(one, two)
    two.chmod(0o600)

    assert written(initrd_members(one, one)) == written(initrd_members(two, two))


@pytest.mark.skipif(shutil.which("cpio") is None, reason="checked against cpio, which is not here")
def test_cpio_reads_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    data = written([Member("dir", stat.S_IFDIR | 0o755), Member("dir/file", 0o100600, source)])
    listed = subprocess.run(
        ["cpio", "--list", "--quiet"], input=data, capture_output=True, check=True
    )

    assert listed.stdout.decode().split() == ["dir", "dir/file"]


def test_a_member_is_found(tmp_path: Path) -> None:
    init, image = tmp_path / "init", tmp_path / "image"
    init.write_bytes(b"#12")
    image.write_bytes(b"erofs")
    data = written(initrd_members(init, image))
    start, size = find_member(data, "os.erofs")
    assert data[start : start + size] == b"erofs"
    for bad in (b"", b"070701 no number", data[:-200], b"070701" + b"0" * 104):
        with pytest.raises(InvalidArgument):
            find_member(bad, "nothing")
