"""Headers, whole and in pieces, as GNU tar and Python write them."""

import io
import tarfile

import pytest

from orlop.wire import tar
from orlop.wire.tar import Header, Kind, TarError


def encode_and_read(header: Header, data: bytes = b"") -> tarfile.TarInfo:
    """What Python makes of an archive of ours."""
    content = tar.encode(header) + data + bytes(-len(data) % tar.BLOCK) + tar.END
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        found = archive.next()
    assert found is not None
    return found


@pytest.mark.parametrize("length", [1, 99, 100, 101, 155, 200, 256, 300, 2000])
def test_names_of_any_length(length: int) -> None:
    name = ("d" * 60 + "/") * (length // 61) + "n" * (length % 61 or 1)

    assert encode_and_read(Header(name=name.encode())).name == name


def test_large_and_fractional_numbers() -> None:
    header = Header(
        name=b"f", uid=3_000_000_000, gid=5, mode=0o4711, mtime_ns=1_600_000_000_250_000_000
    )

    found = encode_and_read(header)

    assert (found.uid, found.gid, found.mode) == (3_000_000_000, 5, 0o4711)
    assert found.mtime == 1_600_000_000.25


def test_times_before_the_epoch() -> None:
    found = encode_and_read(Header(name=b"f", mtime_ns=-1_500_000_000))

    assert found.mtime == -1.5


def test_links_devices_and_attributes() -> None:
    link = encode_and_read(Header(name=b"l", kind=Kind.SYMLINK, link=b"t" * 300))
    device = encode_and_read(Header(name=b"c", kind=Kind.CHAR, device=(7, 300)))
    file = encode_and_read(Header(name=b"f", xattrs={b"user.a": b"b"}))

    assert link.linkname == "t" * 300
    assert (device.devmajor, device.devminor) == (7, 300)
    assert file.pax_headers["SCHILY.xattr.user.a"] == "b"


def test_a_block_that_was_encoded_is_parsed() -> None:
    header = Header(name=b"a/b", size=7, real_size=7, mode=0o600, uid=1, gid=2, mtime_ns=3 * 10**9)

    raw = tar.parse_block(tar.encode(header))

    assert raw is not None
    assert raw.header == header


def test_zeroes_are_the_end() -> None:
    assert tar.parse_block(bytes(512)) is None


@pytest.mark.parametrize("position", [0, 100, 124, 148, 156])
def test_a_damaged_header_is_refused(position: int) -> None:
    block = bytearray(tar.encode(Header(name=b"file", size=1)))
    block[position] ^= 0x55

    with pytest.raises(TarError):
        tar.parse_block(bytes(block))


@pytest.mark.parametrize("value", [1, 9, 10, 97, 98, 99, 100, 5000])
def test_pax_records_count_themselves(value: int) -> None:
    records = {b"path": b"x" * value, b"size": b"5"}

    assert tar.parse_pax(tar.encode_pax(records)) == records


@pytest.mark.parametrize(
    "data",
    [b"5", b"x a=b\n", b"0 a=b\n", b"6 a=b", b"9999 a=b\n", b"6 ab\n\n", b"3 \n", b"-6 a=b\n"],
)
def test_broken_pax_records_are_refused(data: bytes) -> None:
    with pytest.raises(TarError):
        tar.parse_pax(data)


@pytest.mark.parametrize("value", [b"-1", b"x", b"99999999999999999999999", b"1.5"])
def test_broken_sizes_are_refused(value: bytes) -> None:
    with pytest.raises(TarError):
        tar.apply_pax(Header(name=b"f"), {b"size": value}, 0)


def test_base_256_numbers() -> None:
    info = tarfile.TarInfo("f")
    info.uid, info.mtime = 1 << 40, -7

    raw = tar.parse_block(info.tobuf(tarfile.GNU_FORMAT)[:512])

    assert raw is not None
    assert (raw.header.uid, raw.header.mtime_ns) == (1 << 40, -7 * 10**9)


def test_sparse_maps_must_add_up() -> None:
    header = Header(name=b"f", size=10, real_size=10)
    good = tar.sparse_of_pax(header, {b"GNU.sparse.map": b"0,4,100,6", b"GNU.sparse.size": b"106"})

    assert good is not None
    assert (good.sparse, good.real_size) == (((0, 4), (100, 6)), 106)
    for text in (b"0,4", b"0,4,2,6", b"0,4,100,6,7", b"0,4,104,6"):
        with pytest.raises(TarError):
            tar.sparse_of_pax(header, {b"GNU.sparse.map": text, b"GNU.sparse.size": b"106"})


def test_sparse_1_0_maps_come_in_pieces() -> None:
    header = Header(name=b"f", size=512 + 5)
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.realsize": b"9", b"GNU.sparse.name": b"n"}
    data = b"1\n4\n5\n".ljust(512, b"\0")

    for length in range(6):
        assert tar.parse_sparse_1_0(header, records, data[:length]) is None
    found = tar.parse_sparse_1_0(header, records, data)

    assert found is not None
    assert (found[0].sparse, found[0].size, found[0].name, found[1]) == (((4, 5),), 5, b"n", 512)
