"""LUKS2's header and the tokens in it by which a TPM opens the disk, in systemd's format. Pure.

The disk may be a stranger's. Sources: LUKS2 On-Disk Format 1.1.3; systemd 257,
`cryptsetup-tokens/luks2-tpm2.c`, `tpm2_make_luks2_json`. The passphrase of such a token's key slot
is the Base64 of what the TPM has sealed.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import Conflict, Internal, InvalidArgument, NotImplementedYet, OrlopError
from orlop.wire.json_fields import parse_object
from orlop.wire.tpm import BANKS, PCRS, Reader, Sealed, read_sealed

if TYPE_CHECKING:
    from orlop.wire.json_fields import Fields

MAGIC = b"LUKS\xba\xbe\0\2"
MAX_BYTES = 4 << 20
BINARY_BYTES = 4096
SLOTS = 32

TYPE = "systemd-tpm2"
OWN = "orlop"
"""A key of the tokens that Orlop has made; others ignore it."""

_NUMBER = re.compile(r"[0-9]{1,2}")
_ALGORITHM = re.compile("ecc|rsa")
_BANK = re.compile("|".join(BANKS))
_MAX_BLOB_TEXT = 8192


@dataclass(frozen=True, slots=True)
class Token:
    """A key that a TPM has sealed: how to have it back, and which key slots it opens."""

    slots: tuple[str, ...]
    sealed: Sealed
    pcrs: tuple[int, ...]
    bank: str
    algorithm: str
    signer: bytes = b""
    """A public key in PEM: what is in *signed_pcrs* has to be signed with it (`signed_policy`)."""
    signed_pcrs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """What matters here: the slots in use; tokens, or what keeps them from being used; ours."""

    slots: frozenset[str]
    tokens: tuple[Token, ...]
    problems: tuple[str, ...]
    own: dict[str, tuple[str, ...]]
    """The number of each token that Orlop has made, and its slot; none if that has gone already."""

    def free_slot(self) -> str:
        """One that nothing uses.

        Raises:
            Conflict: there is none.
        """
        for number in map(str, range(SLOTS)):
            if number not in self.slots:
                return number
        raise Conflict("all key slots of the disk are in use")

    def check_others(self) -> None:
        """Refuse to take away the only keys.

        Raises:
            Conflict: there would be none left.
        """
        if not self.slots - {slot for slots in self.own.values() for slot in slots}:
            raise Conflict("the disk has no other key: it could never be opened again")


def header_bytes(head: bytes) -> int:
    """The size of the header that begins with *head*.

    Raises:
        InvalidArgument: there is none.
    """
    size = int.from_bytes(head[8:16])
    if head[:8] != MAGIC or not BINARY_BYTES < size <= MAX_BYTES:
        raise InvalidArgument("it is not encrypted with LUKS2")
    return size


def parse_header(data: bytes) -> Header:
    """The header that *data* is as a whole.

    Raises:
        InvalidArgument: it is none, or damaged.
    """
    area = data[BINARY_BYTES : header_bytes(data)].split(b"\0", 1)[0]
    document = parse_object(area, "the disk's header", MAX_BYTES)
    tokens: list[Token] = []
    problems: list[str] = []
    own: dict[str, tuple[str, ...]] = {}
    for number, fields in document.sections("tokens").items():
        if fields.text("type") != TYPE:
            continue
        try:
            token = _parse_token(fields)
        except OrlopError as error:
            problems.append(f"token {number[:2]}: {error}")
            continue
        # One whose slot has gone opens nothing: whoever took it away was interrupted.
        if token.slots:
            tokens.append(token)
        if fields.flag(OWN) and _NUMBER.fullmatch(number) and len(token.slots) <= 1:
            own[number] = token.slots
    slots = frozenset(document.sections("keyslots"))
    return Header(slots, tuple(tokens), tuple(problems), own)


def _parse_token(fields: Fields) -> Token:
    for key, meaning in (
        ("tpm2-pin", "it asks for a PIN"),
        ("tpm2_pcrlock", "it is bound to a policy of systemd-pcrlock"),
    ):
        if fields.flag(key):
            raise NotImplementedYet(meaning)
    signed = _pcrs(fields, "tpm2_pubkey_pcrs")
    slots = fields.items("keyslots")
    if not all(isinstance(slot, str) and _NUMBER.fullmatch(slot) for slot in slots):
        raise fields.error("keyslots", "must be a list of numbers as strings")
    return Token(
        tuple(map(str, slots)),
        _sealed(fields),
        _pcrs(fields, "tpm2-pcrs"),
        fields.text("tpm2-pcr-bank", _BANK, default="sha256"),
        fields.text("tpm2-primary-alg", _ALGORITHM, default="ecc"),
        _signer(fields) if signed else b"",
        signed,
    )


def _pcrs(fields: Fields, key: str) -> tuple[int, ...]:
    pcrs = fields.items(key)
    if not all(type(pcr) is int and 0 <= pcr < PCRS for pcr in pcrs):
        raise fields.error(key, f"must be a list of numbers below {PCRS}")
    return tuple(sorted({int(str(pcr)) for pcr in pcrs}))


def _signer(fields: Fields) -> bytes:
    text = fields.text("tpm2_pubkey", limit=_MAX_BLOB_TEXT)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise fields.error("tpm2_pubkey", "must be in Base64") from None


def _sealed(fields: Fields) -> Sealed:
    text = fields.raw("tpm2-blob")
    if isinstance(text, list) and len(text) == 1:
        text = text[0]
    if not isinstance(text, str) or len(text) > _MAX_BLOB_TEXT:
        raise fields.error("tpm2-blob", "must be one sealed key")
    try:
        return read_sealed(Reader(base64.b64decode(text, validate=True)))
    except (ValueError, Internal):
        raise fields.error("tpm2-blob", "is no sealed key") from None


def make_token(token: Token, policy: bytes) -> dict[str, object]:
    """The JSON of *token*, whose sealed key has the *policy* digest."""
    signed = {
        "tpm2_pubkey": base64.b64encode(token.signer).decode(),
        "tpm2_pubkey_pcrs": list(token.signed_pcrs),
    }
    return {
        "type": TYPE,
        "keyslots": list(token.slots),
        "tpm2-blob": base64.b64encode(token.sealed.blob()).decode(),
        "tpm2-pcrs": list(token.pcrs),
        "tpm2-pcr-bank": token.bank,
        "tpm2-primary-alg": token.algorithm,
        "tpm2-policy-hash": policy.hex(),
        "tpm2-pin": False,
        OWN: True,
        **(signed if token.signed_pcrs else {}),
    }
