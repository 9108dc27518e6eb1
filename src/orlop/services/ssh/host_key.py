"""The machine's own key: made once, or taken over from dropbear, which machines had before.

Ed25519 is computed here (RFC 8032, section 5.1), because nothing else on the machine makes keys.
It is slow and not in constant time, and runs once in a machine's life, with nobody to measure it.
"""

import os
from binascii import a2b_base64, b2a_base64
from hashlib import sha512
from pathlib import Path

KEY_TYPE = b"ssh-ed25519"
_MAGIC = b"openssh-key-v1\0"
_P = 2**255 - 19
_D = -121665 * pow(121666, _P - 2, _P) % _P
_BASE_Y = 4 * pow(5, _P - 2, _P) % _P

type Point = tuple[int, int, int, int]
"""X, Y, Z, T: extended coordinates."""


def _recover_x(y: int) -> int:
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P)
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    return x if x % 2 == 0 else _P - x


def _add(first: Point, second: Point) -> Point:
    a = (first[1] - first[0]) * (second[1] - second[0]) % _P
    b = (first[1] + first[0]) * (second[1] + second[0]) % _P
    c = 2 * first[3] * second[3] * _D % _P
    d = 2 * first[2] * second[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def public_key(seed: bytes) -> bytes:
    """The 32 bytes of the public key that belongs to the 32 of *seed*."""
    scalar = int.from_bytes(sha512(seed).digest()[:32], "little")
    scalar = scalar & ((1 << 254) - 8) | (1 << 254)
    x = _recover_x(_BASE_Y)
    power: Point = (x, _BASE_Y, 1, x * _BASE_Y % _P)
    total: Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _add(total, power)
        power = _add(power, power)
        scalar >>= 1
    inverse = pow(total[2], _P - 2, _P)
    x, y = total[0] * inverse % _P, total[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def public_blob(public: bytes) -> bytes:
    """The key as SSH sends it."""
    return _string(KEY_TYPE) + _string(public)


def private_file(seed: bytes, public: bytes) -> str:
    """The content of OpenSSH's private key file. Source: OpenSSH, PROTOCOL.key."""
    check = seed_check(public)
    private = check + check + public_blob(public) + _string(seed + public) + _string(b"")
    private += bytes(range(1, 1 + -len(private) % 8))
    none = _string(b"none")
    blob = _MAGIC + none + none + _string(b"") + (1).to_bytes(4, "big")
    blob += _string(public_blob(public)) + _string(private)
    text = b2a_base64(blob, newline=False).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    head, tail = (f"-----{verb} OPENSSH PRIVATE KEY-----" for verb in ("BEGIN", "END"))
    return "".join(f"{line}\n" for line in (head, *lines, tail))


def seed_check(public: bytes) -> bytes:
    """Four bytes that are there twice, by which a decryption would know that it is right."""
    return sha512(public).digest()[:4]


def read_public(text: str) -> bytes:
    """The public key in the content of a private key file.

    Raises:
        ValueError: it is none, or of another type.
    """
    lines = [line for line in text.splitlines() if not line.startswith("-----")]
    blob = a2b_base64("".join(lines))
    start = blob.find(_string(KEY_TYPE))
    public = blob[start + 15 + 4 : start + 15 + 36]
    if not blob.startswith(_MAGIC) or start < 0 or len(public) != 32:
        raise ValueError("no private key of type ed25519")
    return public


def from_dropbear(data: bytes) -> tuple[bytes, bytes]:
    """Seed and public key of a key file of dropbear's.

    Raises:
        ValueError: it is none, or of another type.
    """
    head = _string(KEY_TYPE) + (64).to_bytes(4, "big")
    if not data.startswith(head) or len(data) != len(head) + 64:
        raise ValueError("no ed25519 key of dropbear's")
    seed, public = data[len(head) : len(head) + 32], data[len(head) + 32 :]
    if public_key(seed) != public:
        raise ValueError("the halves of the key do not belong together")
    return seed, public


def ensure(path: Path, old: Path) -> bytes:
    """Make the key at *path* unless there is one: whole and on disk, or not at all; from the one
    that dropbear had at *old*, if there is that. The public key.

    Raises:
        OSError: it cannot be made.
    """
    try:
        return read_public(path.read_text("ascii"))
    except (FileNotFoundError, ValueError):
        pass
    try:
        seed, public = from_dropbear(old.read_bytes())
    except (FileNotFoundError, ValueError):
        seed = os.urandom(32)
        public = public_key(seed)
    from orlop.lib import atomic_file

    name = b2a_base64(public_blob(public), newline=False).decode()
    atomic_file.write_text(
        path.with_name(f"{path.name}.pub"), f"{KEY_TYPE.decode()} {name}\n", mode=0o644
    )
    # Last: it is by this one that the next start knows that all is there.
    atomic_file.write_text(path, private_file(seed, public), mode=0o600)
    return public
