"""Headers of encrypted disks, which may be a stranger's: tokens of a TPM, and how they are made."""

import json
import random
from dataclasses import replace

import pytest

from orlop.lib.errors import Conflict, InvalidArgument, OrlopError
from orlop.wire.luks_header import (
    BINARY_BYTES,
    MAGIC,
    SLOTS,
    Token,
    header_bytes,
    make_token,
    parse_header,
)
from orlop.wire.tpm import Sealed

TOKEN = Token(("1",), Sealed(b"private", b"public"), (7,), "sha256", "ecc")
JSON = make_token(TOKEN, bytes(32))


def header(document: object, size: int = 0x4000) -> bytes:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    data = (MAGIC + size.to_bytes(8)).ljust(BINARY_BYTES, b"\0") + text
    return data.ljust(size, b"\0")


def disk(*tokens: object, slots: int = 2) -> bytes:
    keyslots = {str(number): {"type": "luks2"} for number in range(slots)}
    return header({"keyslots": keyslots, "tokens": {str(n): t for n, t in enumerate(tokens)}})


def test_a_token_is_read_as_it_was_made() -> None:
    found = parse_header(disk({"type": "other", "keyslots": ["0"]}, JSON))
    assert found.tokens == (TOKEN,)
    assert found.problems == ()
    assert found.own == {"1": ("1",)}
    assert found.free_slot() == "2"


def test_a_signed_policy_is_read_as_it_was_made() -> None:
    token = replace(TOKEN, signer=b"a key", signed_pcrs=(11,))
    assert parse_header(disk(make_token(token, bytes(32)))).tokens == (token,)


def test_a_token_of_systemds_is_read() -> None:
    """Its fields, with one of each that may be a list."""
    token = JSON | {"tpm2-blob": [JSON["tpm2-blob"]], "tpm2_pubkey_pcrs": [], "tpm2_srk": "AAAA"}
    del token["orlop"], token["tpm2-pcr-bank"], token["tpm2-primary-alg"]
    found = parse_header(disk(token))
    assert (found.tokens, found.own) == ((TOKEN,), {})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"tpm2-pin": True}, "PIN"),
        ({"tpm2_pubkey_pcrs": [11]}, "tpm2_pubkey"),
        ({"tpm2_pubkey_pcrs": [11], "tpm2_pubkey": "?"}, "Base64"),
        ({"tpm2_pubkey_pcrs": [24], "tpm2_pubkey": "AAAA"}, "below 24"),
        ({"tpm2_pcrlock": True}, "pcrlock"),
        ({"tpm2-blob": ["AA==", "AA=="]}, "one sealed key"),
        ({"tpm2-blob": "?"}, "no sealed key"),
        ({"tpm2-blob": "AA=="}, "no sealed key"),
        ({"tpm2-pcrs": [24]}, "below 24"),
        ({"tpm2-pcrs": [True]}, "below 24"),
        ({"tpm2-pcr-bank": "md5"}, "tpm2-pcr-bank"),
        ({"keyslots": [1]}, "keyslots"),
    ],
)
def test_what_is_not_understood_is_said(change: dict[str, object], text: str) -> None:
    found = parse_header(disk(JSON | change))
    assert found.tokens == ()
    assert text in found.problems[0]
    assert found.own == {}


@pytest.mark.parametrize("data", [b"", bytes(4096), MAGIC, MAGIC + b"\xff" * 8, MAGIC + bytes(8)])
def test_what_is_not_luks2_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="not encrypted with LUKS2"):
        header_bytes(data)


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 10000, b"[]", b"\xff", b'{"keyslots": []}'])
def test_a_damaged_header_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse_header(header(text))


def test_the_last_key_stays() -> None:
    parse_header(disk(JSON)).check_others()
    with pytest.raises(Conflict, match="no other key"):
        parse_header(disk(JSON | {"keyslots": ["0"]}, slots=1)).check_others()


def test_a_token_for_several_slots_is_not_taken_for_ours() -> None:
    assert parse_header(disk(JSON | {"keyslots": ["0", "1"]})).own == {}


def test_a_token_whose_slot_has_gone_opens_nothing_and_is_still_ours() -> None:
    """A power cut between the two steps of taking a key away, after another was added."""
    found = parse_header(disk(JSON | {"keyslots": []}, JSON))
    assert found.tokens == (TOKEN,)
    assert found.own == {"0": (), "1": ("1",)}


def test_a_disk_has_so_many_slots() -> None:
    with pytest.raises(Conflict, match="in use"):
        parse_header(disk(slots=SLOTS)).free_slot()


@pytest.mark.parametrize("seed", range(200))
def test_any_header_is_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(disk(JSON, JSON | {"tpm2-pin": True}))
    end = data.index(0, BINARY_BYTES)
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(8, 16) if chance.random() < 0.1 else chance.randrange(4096, end)
        data[place] = chance.choice((chance.randrange(256), *b'"{}[],:0'))
    try:
        parse_header(bytes(data))
    except OrlopError:
        pass
