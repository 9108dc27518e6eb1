"""Keys and signatures that a signed image brings: read as they are, and refused if they are not."""

from __future__ import annotations

import base64
import json
import random
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from orlop.lib.errors import Conflict, InvalidArgument, OrlopError
from orlop.wire.signed_policy import find_signature, parse_key

PEM = serialization.Encoding.PEM
FORM = serialization.PublicFormat.SubjectPublicKeyInfo
PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC = PRIVATE.public_key().public_bytes(PEM, FORM)
POLICY = bytes(range(32))


def document(**change: object) -> bytes:
    key = parse_key(PUBLIC)
    entry = {"pcrs": [11], "pkfp": key.fingerprint, "pol": POLICY.hex(), "sig": "AAEC", **change}
    return json.dumps({"sha256": [entry]}).encode()


def test_a_key_is_what_a_tpm_takes_for_it() -> None:
    key = parse_key(PUBLIC)
    numbers = PRIVATE.public_key().public_numbers()
    head = "0001 000b 00060040 0000 0010 0010 0800 00000000 0100"
    assert key.area == bytes.fromhex(head) + numbers.n.to_bytes(256)
    bare = PRIVATE.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.PKCS1
    )
    assert key.fingerprint == sha256(bare).hexdigest()


def test_other_keys_are_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(PEM, FORM)
    for pem in (b"", b"\xff", curve, PUBLIC[:100]):
        with pytest.raises(InvalidArgument):
            parse_key(pem)


def test_the_signature_for_a_key_its_registers_and_the_policy_is_found() -> None:
    key = parse_key(PUBLIC)
    assert find_signature(document(), key, "sha256", (11,), POLICY) == bytes(range(3))
    for change in ({"pcrs": [12]}, {"pkfp": "0" * 64}, {"pol": "0" * 64}):
        with pytest.raises(Conflict, match="not signed with the key"):
            find_signature(document(**change), key, "sha256", (11,), POLICY)
    with pytest.raises(Conflict, match="no signatures"):
        find_signature(b"", key, "sha256", (11,), POLICY)


@pytest.mark.parametrize("seed", range(100))
def test_any_file_is_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    der = base64.b64decode(b"".join(PUBLIC.splitlines()[1:-1]))
    data = bytearray(der)
    for _ in range(chance.randrange(1, 4)):
        data[chance.randrange(40)] = chance.randrange(256)
    text = b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(data) + b"\n-----END PUBLIC KEY-----"
    signatures = bytearray(document())
    signatures[chance.randrange(len(signatures))] = chance.randrange(256)
    for read in (
        lambda: parse_key(text),
        lambda: find_signature(bytes(signatures), parse_key(PUBLIC), "sha256", (11,), POLICY),
    ):
        try:
            read()
        except OrlopError:
            pass
