"""Ed25519 against RFC 8032's examples, and keys that other tools made."""

from __future__ import annotations

import subprocess

import pytest

from orlop.lib import signatures
from orlop.lib.errors import InvalidArgument

# RFC 8032, 7.1, TEST 3.
PRIVATE = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
PUBLIC = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
MESSAGE = bytes.fromhex("af82")
SIGNATURE = bytes.fromhex(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)


def test_the_standards_example() -> None:
    assert signatures.public_of(PRIVATE) == PUBLIC
    assert signatures.sign(PRIVATE, MESSAGE) == SIGNATURE
    assert signatures.verify(PUBLIC, SIGNATURE, MESSAGE)


def test_anything_else_is_refused() -> None:
    for place in range(64):
        wrong = bytearray(SIGNATURE)
        wrong[place] ^= 1
        assert not signatures.verify(PUBLIC, bytes(wrong), MESSAGE)
    assert not signatures.verify(PUBLIC, SIGNATURE, MESSAGE + b"\0")
    assert not signatures.verify(PUBLIC, SIGNATURE[:-1], MESSAGE)
    assert not signatures.verify(PUBLIC[:-1], SIGNATURE, MESSAGE)
    assert not signatures.verify(bytes(32), SIGNATURE, MESSAGE)
    with pytest.raises(InvalidArgument):
        signatures.sign(PRIVATE[:-1], MESSAGE)


def test_keys_on_disk_are_those_of_openssl() -> None:
    made = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "ed25519"], check=True, capture_output=True, text=True
    ).stdout
    private = signatures.parse_pem(made)
    assert signatures.format_pem(private) == made
    shown = subprocess.run(
        ["openssl", "pkey", "-pubout", "-outform", "DER"],
        check=True,
        capture_output=True,
        input=made.encode(),
    ).stdout
    assert shown[-32:] == signatures.public_of(private)


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_no_key(text: str) -> None:
    with pytest.raises(InvalidArgument):
        signatures.parse_pem(text)
