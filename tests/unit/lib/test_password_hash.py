"""Passwords: hashes as others make them, and the prompt."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from orlop.lib.password_hash import hash_password, is_hash, verify

FEW = 10

ASK = """
import sys
sys.path[:0] = sys.argv[2:]
from orlop.lib.password_hash import ask_until_right
right = ask_until_right(sys.argv[1], "? ", attempts=2, pause_s=0)
print(right, sys.stdin.read(), end="")
"""


@pytest.mark.parametrize("password", ["", "secret", "p\u00e4ssword", "x" * 300])
def test_as_hashlib_has_it(password: str) -> None:
    hashed = hash_password(password, rounds=FEW)
    salt = bytes.fromhex(hashed.split("$")[3])
    expected = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, FEW)
    assert hashed.endswith(f"${expected.hex()}")
    assert verify(password, hashed)
    assert not verify(password + "x", hashed)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "$6$salt$hash", "$pbkdf2-sha512$10$00$00", "$pbkdf2-sha512$10$zz$zz"),
        f"$pbkdf2-sha512$0${'00' * 16}${'00' * 64}",
        f"$pbkdf2-sha512$99999999999${'00' * 16}${'00' * 64}",
    ],
)
def test_what_is_no_hash_opens_nothing(text: str) -> None:
    assert not is_hash(text)
    assert not verify("", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"wrong\nsecret\nrest", b"True rest"),
        (b"wrong\nworse\nsecret", b"False secret"),
        (b"", b"False "),
    ],
)
def test_prompt(text: bytes, expected: bytes) -> None:
    hashed = hash_password("secret", rounds=FEW)
    command = [sys.executable, "-c", ASK, hashed, *filter(os.path.isdir, sys.path)]
    done = subprocess.run(command, input=text, capture_output=True, check=True)
    assert done.stdout == expected
