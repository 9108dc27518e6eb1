"""X.509 certificates: written in DER, and a few fields of one read again.

What mutual TLS needs and no more: an authority, servers with names and addresses, clients.
Sources: RFC 5280; RFC 5480 and 5758 for elliptic curves; ITU-T X.690 for DER.
"""

from __future__ import annotations

import binascii
import ipaddress
import os
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTEGER, _BITS, _OCTETS, _OID, _UTF8, _SEQUENCE, _SET = 0x02, 0x03, 0x04, 0x06, 0x0C, 0x30, 0x31
_BOOLEAN_TRUE = bytes((0x01, 0x01, 0xFF))
_NULL = bytes((0x05, 0x00))
_UTC_TIME, _GENERAL_TIME = 0x17, 0x18
_DNS, _IP = 0x82, 0x87
_SERIAL_BYTES = 15
_CLOCK_SKEW_S = 3600
"""A certificate counts from an hour ago, because clocks differ."""

_COMMON_NAME = (2, 5, 4, 3)
_ORGANIZATION = (2, 5, 4, 10)
_ECDSA_SHA256 = (1, 2, 840, 10045, 4, 3, 2)
_RSA_SHA256 = (1, 2, 840, 113549, 1, 1, 11)
_RSA = (1, 2, 840, 113549, 1, 1, 1)
_KEY_USAGE, _ALT_NAME, _BASIC, _EXTENDED_USAGE = ((2, 5, 29, n) for n in (15, 17, 19, 37))
_SUBJECT_KEY, _AUTHORITY_KEY = (2, 5, 29, 14), (2, 5, 29, 35)
_SERVER_AUTH, _CLIENT_AUTH = (1, 3, 6, 1, 5, 5, 7, 3, 1), (1, 3, 6, 1, 5, 5, 7, 3, 2)
_SIGN_CERTIFICATES, _DIGITAL_SIGNATURE = bytes((0x01, 0x06)), bytes((0x07, 0x80))


class Purpose(StrEnum):
    AUTHORITY = "authority"
    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a certificate is to say. *key* is SubjectPublicKeyInfo in DER; *hosts* are names and
    addresses of a server."""

    name: str
    issuer: bytes
    """A Name in DER, of `name_of` or of the authority's certificate."""
    days: int
    purpose: Purpose
    key: bytes
    key_id: bytes
    issuer_key_id: bytes
    """Empty if the authority's certificate gives its key no number."""
    hosts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What was read of a certificate: Names in DER, and when it ends, in seconds since 1970."""

    subject: bytes
    issuer: bytes
    ends_s: float
    key: bytes
    key_id: bytes
    """The number it gives its key; empty for none."""


def to_sign(wanted: Wanted, *, signer_is_rsa: bool) -> bytes:
    """The part of the certificate that is signed (TBSCertificate), with a new serial number, from
    now on; *signer_is_rsa* tells the kind of the signature."""
    now_s = time.time()
    serial = _value(_INTEGER, bytes((0x40,)) + os.urandom(_SERIAL_BYTES))
    begin = _time(now_s - _CLOCK_SKEW_S)
    return _sequence(
        _value(0xA0, _value(_INTEGER, b"\x02")),
        serial,
        _algorithm(signer_is_rsa),
        wanted.issuer,
        _sequence(begin, _time(now_s + wanted.days * 86400)),
        wanted.issuer if wanted.purpose is Purpose.AUTHORITY else name_of(wanted.name),
        wanted.key,
        _value(0xA3, _sequence(*_extensions(wanted))),
    )


def signed(part: bytes, signature: bytes, *, signer_is_rsa: bool) -> bytes:
    """The certificate, of its signed *part* and the *signature* of that."""
    return _sequence(part, _algorithm(signer_is_rsa), _value(_BITS, b"\0" + signature))


def name_of(common_name: str) -> bytes:
    """A Name in DER; browsers and `docker` show the common name."""
    parts = ((_ORGANIZATION, "Orlop"), (_COMMON_NAME, common_name))
    return _sequence(
        *(_value(_SET, _sequence(_oid(kind), _value(_UTF8, text.encode()))) for kind, text in parts)
    )


def _extensions(wanted: Wanted) -> list[bytes]:
    found = [_extension(_SUBJECT_KEY, _value(_OCTETS, wanted.key_id))]
    if wanted.issuer_key_id:
        found.append(_extension(_AUTHORITY_KEY, _sequence(_value(0x80, wanted.issuer_key_id))))
    if wanted.purpose is Purpose.AUTHORITY:
        found.append(_extension(_BASIC, _sequence(_BOOLEAN_TRUE), critical=True))
        found.append(_extension(_KEY_USAGE, _value(_BITS, _SIGN_CERTIFICATES), critical=True))
        return found
    found.append(_extension(_BASIC, _sequence(), critical=True))
    found.append(_extension(_KEY_USAGE, _value(_BITS, _DIGITAL_SIGNATURE), critical=True))
    usage = _SERVER_AUTH if wanted.purpose is Purpose.SERVER else _CLIENT_AUTH
    found.append(_extension(_EXTENDED_USAGE, _sequence(_oid(usage))))
    if wanted.hosts:
        found.append(_extension(_ALT_NAME, _sequence(*map(_host, wanted.hosts))))
    return found


def _host(text: str) -> bytes:
    try:
        return _value(_IP, ipaddress.ip_address(text).packed)
    except ValueError:
        pass
    if not text.isascii() or not text or len(text) > 253 or any(c in " /:@\\\0" for c in text):
        raise InvalidArgument(f"not a host name or address: {text[:80]!r}")
    return _value(_DNS, text.encode("ascii"))


def _extension(kind: Sequence[int], value: bytes, *, critical: bool = False) -> bytes:
    return _sequence(_oid(kind), _BOOLEAN_TRUE if critical else b"", _value(_OCTETS, value))


def _algorithm(is_rsa: bool) -> bytes:
    return _sequence(_oid(_RSA_SHA256), _NULL) if is_rsa else _sequence(_oid(_ECDSA_SHA256))


def _time(moment_s: float) -> bytes:
    parts = time.gmtime(moment_s)
    if parts.tm_year < 2050:
        return _value(_UTC_TIME, time.strftime("%y%m%d%H%M%SZ", parts).encode())
    return _value(_GENERAL_TIME, time.strftime("%Y%m%d%H%M%SZ", parts).encode())


def _oid(numbers: Sequence[int]) -> bytes:
    content = bytearray((numbers[0] * 40 + numbers[1],))
    for number in numbers[2:]:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        content += bytes(reversed(digits))
    return _value(_OID, bytes(content))


def _sequence(*parts: bytes) -> bytes:
    return _value(_SEQUENCE, b"".join(parts))


def _value(tag: int, content: bytes) -> bytes:
    if tag == _INTEGER and content[0] & 0x80:
        content = b"\0" + content
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def read(der: bytes) -> Found:
    """The fields of a certificate.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        _, outer = _take(der)
        _, body = _take(outer)
        _, version, rest = _split(body)
        if body[0] != 0xA0:
            raise ValueError(version)
        fields = []
        for _ in range(6):  # serial, algorithm, issuer, validity, subject, key
            whole, _inner, rest = _split(rest)
            fields.append(whole)
        _, validity = _take(fields[3])
        _, _, end = _split(validity)
        return Found(fields[4], fields[2], _moment(end), fields[5], _subject_key(rest))
    except (ValueError, IndexError) as error:
        raise InvalidArgument("not a certificate") from error


def rsa_numbers(key: bytes) -> tuple[bytes, int, int]:
    """Of a key of RSA, SubjectPublicKeyInfo in DER: its RSAPublicKey, modulus and exponent.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        _, outer = _take(key)
        _, kind, rest = _split(outer)
        tag, bits = _take(rest)
        if not kind.startswith(_oid(_RSA)) or tag != _BITS or bits[0]:
            raise ValueError(tag)
        _, numbers = _take(bits[1:])
        _, modulus, rest = _split(numbers)
        return bits[1:], int.from_bytes(modulus), int.from_bytes(_take(rest)[1])
    except (ValueError, IndexError) as error:
        raise InvalidArgument("not a public key of RSA") from error


def _subject_key(rest: bytes) -> bytes:
    """The subject key identifier among the extensions, which are the last of what is signed."""
    _, mark, after = rest.partition(_oid(_SUBJECT_KEY))
    return _take(_take(after)[1])[1] if mark else b""


def _take(data: bytes) -> tuple[int, bytes]:
    """Tag and content of the first value."""
    _, content, _ = _split(data)
    return data[0], content


def _split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """The first value whole, its content, and what follows."""
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("a value is longer than what holds it")
    return data[: start + length], data[start : start + length], data[start + length :]


def _moment(data: bytes) -> float:
    tag, content = _take(data)
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("20" if int(text[:2]) < 50 else "19") + text
    import calendar

    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ"))


def pem(label: str, der: bytes) -> str:
    """*der* as text."""
    data = binascii.b2a_base64(der, newline=False).decode()
    lines = [data[start : start + 64] for start in range(0, len(data), 64)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))


def from_pem(text: str) -> bytes:
    """The first value in *text*; what is before it counts for nothing.

    Raises:
        InvalidArgument: there is none.
    """
    _, begin, rest = text.partition("-----BEGIN ")
    body = rest.partition("-----\n" if "-----\n" in rest else "-----\r\n")[2]
    body, end, _ = body.partition("-----END ")
    try:
        if begin and end:
            return binascii.a2b_base64("".join(body.split()), strict_mode=True)
    except ValueError:
        pass
    raise InvalidArgument("not in PEM")
