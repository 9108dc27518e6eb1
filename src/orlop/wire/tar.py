"""The tar format, block by block: headers to values and back. No I/O.

Read: v7, ustar, GNU (long names, base-256 numbers, sparse files) and PAX (long names, large
numbers, fractional times, extended attributes, sparse files). Written: ustar, with a PAX header in
front of an entry that does not fit. Names are bytes: an archive says nothing about their encoding.

Sources: POSIX.1-2017 `pax`, the GNU tar manual's "Basic Tar Format", and what Docker's images hold.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BLOCK = 512
END = bytes(2 * BLOCK)
"""What ends an archive."""

MAX_EXTENSION_BYTES = 1 << 20
"""Largest PAX header or GNU long name taken."""

_HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
XATTR_PREFIX = b"SCHILY.xattr."


class TarError(ValueError):
    """The bytes are no tar archive, or one that cannot be understood."""


class Kind(StrEnum):
    """Type flags, those that make something in a file system."""

    FILE = "0"
    HARDLINK = "1"
    SYMLINK = "2"
    CHAR = "3"
    BLOCK_DEVICE = "4"
    DIRECTORY = "5"
    FIFO = "6"


class Extension(StrEnum):
    """Type flags of headers that describe the entry after them."""

    PAX = "x"
    PAX_GLOBAL = "g"
    GNU_NAME = "L"
    GNU_LINK = "K"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One entry. *size* is that of the data which follows, before padding, 0 for all but files.

    *real_size* is the file's own, larger than *size* if it is sparse; then *sparse* tells where
    the data belongs: (offset, length) in ascending order.
    """

    name: bytes
    kind: Kind = Kind.FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    user: bytes = b""
    group: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    real_size: int = 0
    sparse: tuple[tuple[int, int], ...] | None = None

    @property
    def padded_size(self) -> int:
        """Bytes of the archive between this header and the next."""
        return -(-self.size // BLOCK) * BLOCK


@dataclass(frozen=True, slots=True)
class RawHeader:
    """A header block as it stands, before extensions are applied."""

    header: Header
    flag: str
    size: int
    gnu_sparse: bool
    block: bytes


def parse_block(block: bytes) -> RawHeader | None:
    """Parse one header block; None for a block of zeroes.

    Raises:
        TarError: the checksum is wrong, or a field is no number.
    """
    if not block.rstrip(b"\0"):
        return None
    (
        name, mode, uid, gid, size, mtime, checksum, flag, link,
        magic, _version, user, group, major, minor, prefix,
    ) = _HEADER.unpack(block)  # fmt: skip
    _check_sum(block, checksum)
    name = _text(name)
    if magic == b"ustar\0" and prefix[:1] != b"\0":
        name = _text(prefix) + b"/" + name
    letter = "0" if flag == b"\0" else flag.decode("latin-1")
    if flag == b"\0" and name.endswith(b"/"):
        letter = "5"
    kind = Kind(letter) if letter in _KINDS else Kind.FILE
    length = _number(size)
    if length < 0:
        raise TarError("an entry has a negative size")
    has_devices = letter in "34"
    header = Header(
        name=name,
        kind=kind,
        mode=_number(mode) & 0o7777,
        uid=_number(uid),
        gid=_number(gid),
        size=length if kind is Kind.FILE else 0,
        real_size=length if kind is Kind.FILE else 0,
        mtime_ns=_number(mtime) * 1_000_000_000,
        link=_text(link),
        user=_text(user) if magic.startswith(b"ustar") else b"",
        group=_text(group) if magic.startswith(b"ustar") else b"",
        device=(_number(major), _number(minor)) if has_devices else (0, 0),
    )
    return RawHeader(header, letter, length, letter == "S", block)


_KINDS = frozenset(Kind)
_REGULAR = frozenset("07S")
_EXTENSIONS = frozenset(Extension)


def is_extension(flag: str) -> bool:
    """Whether a header with *flag* only describes the one after it."""
    return flag in _EXTENSIONS


def check_flag(raw: RawHeader) -> None:
    """Refuse what is neither an extension nor anything a file system holds.

    Raises:
        TarError: with the type flag.
    """
    if raw.flag not in _KINDS and raw.flag not in _REGULAR:
        raise TarError(f"unhandled tar header type {raw.flag!r}")


def _check_sum(block: bytes, field_: bytes) -> None:
    expected = _number(field_)
    # The checksum counts its own field as eight spaces.
    found = sum(block) - sum(field_) + 8 * 32
    if found != expected:
        signed = found - 256 * sum(byte > 127 for byte in block)
        if signed != expected:
            raise TarError("invalid tar header")


def _text(data: bytes) -> bytes:
    end = data.find(b"\0")
    return data if end < 0 else data[:end]


def _number(data: bytes) -> int:
    if data[0] & 0x80:
        # GNU's base-256: the highest bit marks it, the next one is the sign.
        value = int.from_bytes(data, "big") & ((1 << (8 * len(data) - 1)) - 1)
        limit = 1 << (8 * len(data) - 1)
        return value - limit if data[0] & 0x40 else value
    text = data.strip(b" \0")
    if not text:
        return 0
    try:
        # Whatever stands after the first terminator is not part of the number.
        return int(text.split(b"\0")[0].split(b" ")[0], 8)
    except ValueError:
        raise TarError("invalid tar header: a field is not a number") from None


def parse_pax(data: bytes) -> dict[bytes, bytes]:
    """The records of a PAX header, later ones winning; sparse pairs keep their order in one value.

    Raises:
        TarError: a record is not `LENGTH KEY=VALUE\\n`.
    """
    records: dict[bytes, bytes] = {}
    pairs: list[bytes] = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 12)
        digits = data[position:space]
        if space < 0 or not digits.isdigit():
            raise TarError("invalid PAX record")
        end = position + int(digits)
        if end > len(data) or end <= space + 1 or data[end - 1 : end] != b"\n":
            raise TarError("invalid PAX record")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise TarError("invalid PAX record")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pairs.append(value)
        else:
            records[key] = value
        position = end
    if pairs:
        records[b"GNU.sparse.map"] = b",".join(pairs)
    return records


def apply_pax(header: Header, records: Mapping[bytes, bytes], raw_size: int) -> Header:
    """*header* with what *records* say; an empty value means the header's own.

    Raises:
        TarError: a number is none, or out of bounds.
    """
    changes: dict[str, object] = {}
    xattrs: dict[bytes, bytes] = {}
    for key, value in records.items():
        if key.startswith(XATTR_PREFIX):
            xattrs[key[len(XATTR_PREFIX) :]] = value
        elif value and key in _PAX_FIELDS:
            name, parse = _PAX_FIELDS[key]
            changes[name] = parse(value)
    size = changes.get("size", raw_size)
    assert isinstance(size, int)
    changes["size"] = changes["real_size"] = size if header.kind is Kind.FILE else 0
    if xattrs:
        changes["xattrs"] = xattrs
    return replace(header, **changes)  # type: ignore[arg-type]


def _pax_text(value: bytes) -> bytes:
    if b"\0" in value:
        raise TarError("a NUL in a PAX record")
    return value


def _pax_integer(value: bytes) -> int:
    if len(value) > 20 or not value.lstrip(b"-").isdigit():
        raise TarError("invalid number in a PAX record")
    return int(value)


def _pax_size(value: bytes) -> int:
    number = _pax_integer(value)
    if not 0 <= number < 1 << 62:
        raise TarError("invalid size in a PAX record")
    return number


def _pax_time(value: bytes) -> int:
    whole, _, fraction = value.partition(b".")
    if fraction and not fraction.isdigit():
        raise TarError("invalid time in a PAX record")
    nanoseconds = int(fraction[:9].ljust(9, b"0")) if fraction else 0
    negative = whole.startswith(b"-")
    seconds = _pax_integer(whole or b"0")
    return seconds * 1_000_000_000 + (-nanoseconds if negative else nanoseconds)


_PAX_FIELDS = {
    b"path": ("name", _pax_text),
    b"linkpath": ("link", _pax_text),
    b"uname": ("user", _pax_text),
    b"gname": ("group", _pax_text),
    b"uid": ("uid", _pax_integer),
    b"gid": ("gid", _pax_integer),
    b"size": ("size", _pax_size),
    b"mtime": ("mtime_ns", _pax_time),
}


def sparse_of_pax(header: Header, records: Mapping[bytes, bytes]) -> Header | None:
    """The sparse file that PAX records of formats 0.0 and 0.1 describe; None: it is not one.

    Raises:
        TarError: the map is none.
    """
    text = records.get(b"GNU.sparse.map")
    if text is None:
        return None
    numbers = [_pax_size(item) for item in text.split(b",") if item]
    real_size = _pax_size(records.get(b"GNU.sparse.size", b"") or b"0")
    name = records.get(b"GNU.sparse.name") or header.name
    return replace(header, name=name, **_sparse(numbers, header.size, real_size))  # type: ignore[arg-type]


def is_sparse_1_0(records: Mapping[bytes, bytes]) -> bool:
    """Whether the entry's map is at the start of its data (`parse_sparse_1_0`)."""
    return records.get(b"GNU.sparse.major") == b"1"


def parse_sparse_1_0(
    header: Header, records: Mapping[bytes, bytes], data: bytes
) -> tuple[Header, int] | None:
    """The sparse file whose map is at the beginning of *data*, and the map's length; None: more.

    Raises:
        TarError: the map is none, or longer than `MAX_EXTENSION_BYTES`.
    """
    numbers: list[int] = []
    position, count = 0, -1
    while count < 0 or len(numbers) < 2 * count:
        end = data.find(b"\n", position, position + 22)
        if end < 0:
            if len(data) - position >= 22 or len(data) > MAX_EXTENSION_BYTES:
                raise TarError("invalid sparse map")
            return None
        number = _pax_size(data[position:end])
        if count < 0:
            count = number
        else:
            numbers.append(number)
        position = end + 1
    length = -(-position // BLOCK) * BLOCK
    real_size = _pax_size(records.get(b"GNU.sparse.realsize", b"") or b"0")
    name = records.get(b"GNU.sparse.name") or header.name
    size = header.size - length
    return replace(header, name=name, size=size, **_sparse(numbers, size, real_size)), length  # type: ignore[arg-type]


def parse_gnu_sparse(raw: RawHeader) -> tuple[list[int], int, bool]:
    """Offsets and lengths in an old GNU sparse header, the real size, whether a block follows."""
    block = raw.block
    return _gnu_pairs(block[386:482]), _number(block[483:495]), block[482:483] != b"\0"


def parse_gnu_sparse_more(block: bytes) -> tuple[list[int], bool]:
    """The same of a following block."""
    return _gnu_pairs(block[:504]), block[504:505] != b"\0"


def with_gnu_sparse(header: Header, numbers: Sequence[int], real_size: int) -> Header:
    """*header* as the sparse file that old GNU headers describe."""
    return replace(header, **_sparse(numbers, header.size, real_size))  # type: ignore[arg-type]


def _gnu_pairs(data: bytes) -> list[int]:
    numbers: list[int] = []
    for start in range(0, len(data), 24):
        if data[start : start + 1] in (b"\0", b""):
            break
        numbers += [_number(data[start : start + 12]), _number(data[start + 12 : start + 24])]
    return numbers


def _sparse(numbers: Sequence[int], size: int, real_size: int) -> dict[str, object]:
    if len(numbers) % 2:
        raise TarError("invalid sparse map")
    pairs = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    position = total = 0
    for offset, length in pairs:
        if offset < position or length < 0:
            raise TarError("invalid sparse map")
        position = offset + length
        total += length
    if total != size or position > real_size:
        raise TarError("invalid sparse map")
    return {
        "sparse": tuple(pair for pair in pairs if pair[1]),
        "real_size": real_size,
    }


def encode(header: Header) -> bytes:
    """The block or blocks for *header*; the data and its padding come after.

    Numbers and names that ustar cannot hold, and extended attributes, are put in a PAX header.
    """
    records: dict[bytes, bytes] = {}
    prefix, name = _split_name(header.name)
    if name is None:
        records[b"path"] = header.name
        name = header.name[:100]
    if len(header.link) > 100:
        records[b"linkpath"] = header.link
    seconds, fraction = divmod(header.mtime_ns, 1_000_000_000)
    if fraction or not 0 <= seconds < 1 << 33:
        records[b"mtime"] = _pax_time_text(header.mtime_ns)
        seconds = min(max(seconds, 0), (1 << 33) - 1)
    fields = {b"uid": (header.uid, 21), b"gid": (header.gid, 21), b"size": (header.size, 33)}
    for key, (number, bits) in fields.items():
        if not 0 <= number < 1 << bits:
            records[key] = b"%d" % number
    for key, value in header.xattrs.items():
        records[XATTR_PREFIX + key] = value
    block = _block(header, name, prefix, seconds)
    if not records:
        return block
    data = encode_pax(records)
    extension = Header(name=b"PaxHeaders.0/" + header.name[-80:], size=len(data))
    head = _block(extension, extension.name, b"", 0, flag=Extension.PAX)
    return head + data + bytes(-len(data) % BLOCK) + block


def encode_pax(records: Mapping[bytes, bytes]) -> bytes:
    """The content of a PAX header, in the order of the keys."""
    parts = []
    for key, value in sorted(records.items()):
        content = b" " + key + b"=" + value + b"\n"
        length = len(content) + 1
        while len(b"%d" % length) + len(content) != length:
            length = len(b"%d" % length) + len(content)
        parts.append(b"%d" % length + content)
    return b"".join(parts)


def _pax_time_text(time_ns: int) -> bytes:
    sign = b"-" if time_ns < 0 else b""
    seconds, fraction = divmod(abs(time_ns), 1_000_000_000)
    return sign + b"%d" % seconds + (b".%09d" % fraction).rstrip(b"0").rstrip(b".")


def _split_name(name: bytes) -> tuple[bytes, bytes | None]:
    """ustar's prefix and name; None when it is too long for them."""
    if len(name) <= 100:
        return b"", name
    cut = name.find(b"/", max(len(name) - 101, 1))
    if 0 < cut <= 155 and 0 < len(name) - cut - 1 <= 100:
        return name[:cut], name[cut + 1 :]
    return b"", None


def _octal(value: int, digits: int) -> bytes:
    # What does not fit is in a PAX record, which readers prefer.
    return b"%0*o" % (digits, value if 0 <= value < 8**digits else 0)


def _block(header: Header, name: bytes, prefix: bytes, seconds: int, *, flag: str = "") -> bytes:
    block = bytearray(
        _HEADER.pack(
            name,
            _octal(header.mode, 7),
            _octal(header.uid, 7),
            _octal(header.gid, 7),
            _octal(header.size, 11),
            _octal(seconds, 11),
            b" " * 8,
            (flag or header.kind.value).encode(),
            header.link[:100],
            b"ustar\0",
            b"00",
            header.user[:32],
            header.group[:32],
            _octal(header.device[0], 7),
            _octal(header.device[1], 7),
            prefix,
        )
    )
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
