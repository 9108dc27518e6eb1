"""A header block and PAX records are parsed or refused as a tar error; no size is negative."""

from __future__ import annotations

import io
import tarfile

from orlop.wire import tar


def _block(kind: bytes, name: str = "some/file") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, 5 if kind == b"0" else 0, "target"
    member.mtime = 1_700_000_000
    return member.tobuf(tarfile.GNU_FORMAT)[-512:]


SEEDS = (
    *(_block(kind) for kind in (b"0", b"2", b"3", b"5")),
    b"30 mtime=1700000000.123456789\n19 path=" + "ä".encode() * 4 + b"\n",
    b"22 GNU.sparse.offset=0\n24 GNU.sparse.numbytes=5\n",
    b"27 SCHILY.xattr.user.a=value\n",
)
TOKENS = (b"\0", b"\x80", b"00000000000", b"7777777", b"=", b" ", b"\n", b"GNU.sparse.map=1,2\n")


def check(data: bytes) -> None:
    block = io.BytesIO(data.ljust(512, b"\0")).read(512)
    # With a right checksum, or nothing but it would be tried.
    sealed = bytearray(block)
    sealed[148:156] = b" " * 8
    sealed[148:156] = b"%06o\0 " % sum(sealed)
    for candidate in (block, bytes(sealed)):
        try:
            raw = tar.parse_block(candidate)
            if raw is not None:
                tar.check_flag(raw)
                assert raw.size >= 0
        except tar.TarError:
            continue
    try:
        records = tar.parse_pax(data)
        raw = tar.parse_block(_block(b"0"))
        assert raw is not None
        tar.apply_pax(raw.header, records, raw.size)
        tar.sparse_of_pax(raw.header, records)
    except tar.TarError:
        return
