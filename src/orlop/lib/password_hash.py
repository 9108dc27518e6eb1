"""Hashes of passwords by PBKDF2 with HMAC-SHA-512 (RFC 8018), and the prompt that asks for one.

Written with the plain SHA-512 because neither PID 1 nor the console has OpenSSL's library, and a
password is asked for once. The form is `$pbkdf2-sha512$ROUNDS$SALT$HASH`, both in hexadecimal.
"""

from __future__ import annotations

import binascii
import os
from _operator import _compare_digest as compare_digest
from _sha2 import sha512  # type: ignore[import-not-found,unused-ignore]

PREFIX = "$pbkdf2-sha512$"
ROUNDS = 100_000
"""Half a second of one processor."""

MAX_ROUNDS = 10_000_000
SALT_BYTES, HASH_BYTES, BLOCK_BYTES = 16, 64, 128
MAX_PASSWORD_BYTES = 1024


def hash_password(password: str, *, rounds: int = ROUNDS) -> str:
    """A hash of *password* with a new salt."""
    salt = os.urandom(SALT_BYTES)
    return f"{PREFIX}{rounds}${salt.hex()}${_derive(password.encode(), salt, rounds).hex()}"


def is_hash(text: str) -> bool:
    """Whether *text* has the form of a hash."""
    return _parse(text) is not None


def verify(password: str, hashed: str) -> bool:
    """Whether *password* has the hash *hashed*. What is no hash has no password."""
    found = _parse(hashed)
    if found is None:
        return False
    rounds, salt, wanted = found
    return compare_digest(_derive(password.encode(), salt, rounds), wanted)


def _parse(text: str) -> tuple[int, bytes, bytes] | None:
    words = text.removeprefix(PREFIX).split("$")
    if not text.startswith(PREFIX) or len(words) != 3 or not words[0].isdecimal():
        return None
    try:
        salt, wanted = binascii.unhexlify(words[1]), binascii.unhexlify(words[2])
    except ValueError:
        return None
    if not 0 < int(words[0]) <= MAX_ROUNDS or len(wanted) != HASH_BYTES or len(salt) < 8:
        return None
    return int(words[0]), salt, wanted


def _derive(password: bytes, salt: bytes, rounds: int) -> bytes:
    """The first block, of 64 bytes."""
    key = sha512(password).digest() if len(password) > BLOCK_BYTES else password
    key = key.ljust(BLOCK_BYTES, b"\0")
    inner = sha512(bytes(byte ^ 0x36 for byte in key))
    outer = sha512(bytes(byte ^ 0x5C for byte in key))

    def mac(data: bytes) -> bytes:
        first, second = inner.copy(), outer.copy()
        first.update(data)
        second.update(first.digest())
        digest: bytes = second.digest()
        return digest

    last = mac(salt + b"\0\0\0\1")
    total = int.from_bytes(last)
    for _ in range(rounds - 1):
        last = mac(last)
        total ^= int.from_bytes(last)
    return total.to_bytes(HASH_BYTES)


def ask(prompt: str) -> str:
    """What is typed on the terminal that is descriptor 0, unseen; a line of the input where that
    is none.

    Raises:
        EOFError: it has ended.
    """
    if not os.isatty(0):
        os.write(2, prompt.encode())
        return _read_line()
    import termios

    before = termios.tcgetattr(0)
    silent = list(before)
    silent[3] &= ~termios.ECHO
    # What was typed before is dropped, so nobody is asked before that.
    termios.tcsetattr(0, termios.TCSAFLUSH, silent)
    try:
        os.write(2, prompt.encode())
        return _read_line()
    finally:
        termios.tcsetattr(0, termios.TCSAFLUSH, before)
        os.write(2, b"\n")


def _read_line() -> str:
    """Byte by byte: what comes after it is somebody else's."""
    line = b""
    while len(line) <= MAX_PASSWORD_BYTES:
        byte = os.read(0, 1)
        if not byte and not line:
            raise EOFError
        if byte in (b"", b"\n", b"\r"):
            break
        line += byte
    return line.decode("utf-8", "replace")


def ask_until_right(hashed: str, prompt: str, *, attempts: int, pause_s: float) -> bool:
    """Ask for the password that has the hash *hashed*, *attempts* times at most."""
    import time

    for _ in range(attempts):
        try:
            typed = ask(prompt)
        except EOFError:
            return False
        if verify(typed, hashed):
            return True
        time.sleep(pause_s)
        os.write(2, b"wrong\n")
    return False
