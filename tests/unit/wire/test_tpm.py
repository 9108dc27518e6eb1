"""What is said to a TPM, and that an answer of any kind is either read or refused."""

import random
from hashlib import sha256
from struct import pack

import pytest

from orlop.lib.errors import Conflict, Internal, OrlopError
from orlop.wire import tpm


def answer(body: bytes, code: int = 0, tag: int = tpm.NO_SESSIONS) -> bytes:
    return pack(">HII", tag, tpm.HEAD_BYTES + len(body), code) + body


def test_a_command_has_its_length_and_its_authorization() -> None:
    assert tpm.command(tpm.FLUSH, (), bytes(4)).hex() == "8001 0000000e 00000165 00000000".replace(
        " ", ""
    )
    assert tpm.command(tpm.LOAD, [0x80000000], b"x", tpm.PASSWORD).hex() == (
        "8002 0000001c 00000157 80000000 00000009 40000009 0000 00 0000 78".replace(" ", "")
    )


def test_registers_are_selected_by_bits() -> None:
    assert tpm.selection("sha256", [7, 11]).hex() == "00000001000b03800800"
    assert tpm.selection("sha1", []).hex() == "00000001000403000000"


def test_the_digest_of_a_policy_is_what_a_tpm_makes_of_it() -> None:
    digest = tpm.policy_of_values(bytes(32), "sha256", {16: bytes(32)})
    inner = sha256(bytes(32)).digest()
    body = bytes(32) + bytes.fromhex("0000017f 00000001 000b 03 000001") + inner
    assert digest == sha256(body).digest()


def test_parameters_of_an_authorized_answer_end_before_its_sessions() -> None:
    body = pack(">I", 4) + tpm.sized(b"ok") + b"session"
    _, reader = tpm.answer(answer(body, tag=tpm.SESSIONS))
    assert reader.sized() == b"ok"
    with pytest.raises(Internal):
        reader.take(1)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0x1DF, "another TPM"),
        (0x99D, "is not what it was"),
        (0x921, "locked"),
        (0x123, "error 0x123"),
    ],
)
def test_a_refusal_is_explained(code: int, text: str) -> None:
    with pytest.raises(tpm.TpmError, match=text):
        tpm.answer(answer(b"", code))


def test_a_bank_that_is_not_kept_is_no_value() -> None:
    """The TPM leaves out of its answer what it does not have."""
    empty = pack(">II", 1, 1) + bytes.fromhex("000b 03 000000") + pack(">I", 0)
    with pytest.raises(Conflict, match="no sha256"):
        tpm.pcr_value(tpm.Reader(empty), "sha256")
    value = bytes(range(32))
    full = pack(">II", 1, 1) + bytes.fromhex("000b 03 800000") + pack(">I", 1) + tpm.sized(value)
    assert tpm.pcr_value(tpm.Reader(full), "sha256") == value


@pytest.mark.parametrize("seed", range(200))
def test_any_answer_is_read_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    whole = answer(pack(">II", 4, 1) + tpm.sized(b"abc") * 3, tag=tpm.SESSIONS)
    data = bytearray(whole[: chance.randrange(len(whole) + 1)])
    for _ in range(chance.randrange(4)):
        if data:
            data[chance.randrange(len(data))] = chance.randrange(256)
    try:
        _, reader = tpm.answer(bytes(data), handle=chance.random() < 0.5)
        tpm.read_sealed(reader)
        tpm.pcr_value(reader, "sha256")
    except OrlopError:
        pass
