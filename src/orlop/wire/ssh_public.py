"""The public half of an SSH key, out of the file of the private one. Pure.

Sources: OpenSSH, PROTOCOL.key; RFC 8017 A.1.2 (RSA), RFC 5915 (EC); RFC 4253 6.6 and RFC 5656 3.1
for what is made of them.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

MAGIC = b"openssh-key-v1\0"
PLAIN = b"\0\0\0\4none\0\0\0\4none\0\0\0\0\0\0\0\1"
"""No cipher, no key derivation, one key."""

_CURVE, _POINT = 0xA0, 0xA1
"""Tags in an EC key."""

_CURVES = {
    "2a8648ce3d030107": b"nistp256",
    "2b81040022": b"nistp384",
    "2b81040023": b"nistp521",
}


def public_line(private: str) -> str:
    """`TYPE BASE64`, as in a `.pub` file.

    Raises:
        ValueError: it is no private key, or one in a form that does not have the public half.
    """
    head, *body = private.strip().splitlines() or [""]
    data = a2b_base64("".join(body[:-1]))
    if "OPENSSH" in head:
        blob = _take_string(data.removeprefix(MAGIC + PLAIN))
    elif "RSA" in head:
        _version, modulus, exponent, *_ = _children(_children(data)[0][1])
        blob = b"".join(map(_string, (b"ssh-rsa", exponent[1], modulus[1])))
    elif "EC" in head:
        blob = _elliptic(dict(_children(_children(data)[0][1])))
    else:
        raise ValueError("a key in a form without its public half")
    kind = _take_string(blob).decode("ascii")
    return f"{kind} {b2a_base64(blob, newline=False).decode()}"


def _elliptic(parts: dict[int, bytes]) -> bytes:
    curve = _CURVES.get(_children(parts.get(_CURVE, b""))[0][1].hex(), b"")
    if not curve or _POINT not in parts:
        raise ValueError("a key without its curve, or without its public half")
    point = _children(parts[_POINT])[0][1][1:]  # the first byte: how many bits are not used
    return b"".join(map(_string, (b"ecdsa-sha2-" + curve, curve, point)))


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _take_string(data: bytes) -> bytes:
    length = int.from_bytes(data[:4], "big")
    if not 0 < length <= len(data) - 4:
        raise ValueError("a key that ends too early")
    return data[4 : 4 + length]


def _children(data: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents of the values in *data*, which is DER; at least one."""
    found: list[tuple[int, bytes]] = []
    while data:
        if len(data) < 2:
            raise ValueError("a key that ends too early")
        tag, length, start = data[0], data[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(data[2:start], "big")
        if start + length > len(data):
            raise ValueError("a key that ends too early")
        found.append((tag, data[start : start + length]))
        data = data[start + length :]
    if not found:
        raise ValueError("a key with nothing in it")
    return found
