"""Signatures of what a TPM's registers may hold, as they come with a signed image. Pure.

systemd-stub leaves two files of a unified kernel image behind: a public key in PEM, and JSON with a
signature for each of the digests that a policy of registers may have. A key that is sealed to the
public key can be had under each image that is signed so. Sources: systemd-measure(1); systemd 257,
`tpm2_tpm2b_public_from_openssl_pkey`; TPM 2.0 Library 1.59, part 3, TPM2_PolicyAuthorize. Both
files may be a stranger's.
"""

from __future__ import annotations

import base64
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from dataclasses import dataclass
from struct import pack
from typing import TYPE_CHECKING

from orlop.lib import certificate
from orlop.lib.errors import Conflict, InvalidArgument
from orlop.wire import tpm
from orlop.wire.json_fields import parse_object

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BYTES = 64 << 10
"""Of each of the two files."""

LOAD_EXTERNAL, VERIFY_SIGNATURE, POLICY_AUTHORIZE = 0x167, 0x177, 0x16A
_RSA, _SHA256, _NONE, _RSASSA = 0x01, 0x0B, 0x10, 0x14
_ATTRIBUTES = 0x40 | 0x20000 | 0x40000
"""TPMA_OBJECT: userWithAuth, decrypt, sign; as systemd has them, which makes the same name."""

_KEY_BITS = (2048, 3072, 4096)
_USUAL_EXPONENT = 65537


@dataclass(frozen=True, slots=True)
class PolicyKey:
    """The public key; *area* is its TPMT_PUBLIC and *fingerprint* the SHA-256 of its
    RSAPublicKey in DER, in digits."""

    pem: bytes
    area: bytes
    fingerprint: str

    @property
    def name(self) -> bytes:
        """What a TPM calls it."""
        return pack(">H", _SHA256) + bytes(sha256(self.area).digest())

    @property
    def policy(self) -> bytes:
        """The digest of the policy that whatever this key has signed for is right."""
        first = sha256(bytes(32) + pack(">I", POLICY_AUTHORIZE) + self.name).digest()
        return bytes(sha256(first).digest())  # the reference is empty


def parse_key(pem: bytes) -> PolicyKey:
    """The key that *pem* is.

    Raises:
        InvalidArgument: it is none of RSA, or of another size than TPMs take.
    """
    der, modulus, exponent = certificate.rsa_numbers(
        certificate.from_pem(pem.decode("ascii", "replace"))
    )
    bits = modulus.bit_length()
    if bits not in _KEY_BITS or not 2 < exponent < 1 << 32:
        raise InvalidArgument(f"a key of RSA with {bits} bits, and exponent {exponent:.3g}")
    area = pack(">HHIH", _RSA, _SHA256, _ATTRIBUTES, 0)  # no policy of its own
    area += pack(">HHH", _NONE, _NONE, bits)
    area += pack(">I", 0 if exponent == _USUAL_EXPONENT else exponent)
    area += tpm.sized(modulus.to_bytes(bits // 8))
    return PolicyKey(pem, area, sha256(der).hexdigest())


def find_signature(
    document: bytes, key: PolicyKey, bank: str, pcrs: Sequence[int], policy: bytes
) -> bytes:
    """The signature by *key* of the digest *policy* of *pcrs* in *bank*.

    Raises:
        Conflict: there is none in *document*. InvalidArgument: that is none.
    """
    if not document:
        raise Conflict("the image that runs has no signatures of what it measures")
    for entry in parse_object(document, "the signatures of the image", MAX_BYTES).entries(bank):
        if (
            entry.items("pcrs") == [*pcrs]
            and entry.text("pkfp") == key.fingerprint
            and entry.text("pol") == policy.hex()
        ):
            text = entry.text("sig", limit=1024)
            try:
                return base64.b64decode(text, validate=True)
            except ValueError:
                raise entry.error("sig", "must be in Base64") from None
    numbers = ", ".join(map(str, pcrs))
    raise Conflict(
        f"what the image that runs has measured (PCR {numbers}) is not signed with the key that is "
        "wanted: it is another's, or started for recovery"
    )


def load_external(key: PolicyKey) -> bytes:
    """TPM2_LoadExternal; gives a handle. The owner's hierarchy, so that tickets can be checked."""
    return tpm.command(
        LOAD_EXTERNAL, (), tpm.sized(b"") + tpm.sized(key.area) + pack(">I", tpm.OWNER)
    )


def verify_signature(handle: int, policy: bytes, signature: bytes) -> bytes:
    """TPM2_VerifySignature of PKCS #1 v1.5 with SHA-256; gives a ticket, the whole answer."""
    signed = pack(">HH", _RSASSA, _SHA256) + tpm.sized(signature)
    digest = bytes(sha256(policy).digest())
    return tpm.command(VERIFY_SIGNATURE, [handle], tpm.sized(digest) + signed)


def read_ticket(reader: tpm.Reader) -> bytes:
    """The answer to `verify_signature`.

    Raises:
        Internal: it is none.
    """
    return reader.take(6) + tpm.sized(reader.sized())


def policy_authorize(session: int, policy: bytes, key: PolicyKey, ticket: bytes) -> bytes:
    """TPM2_PolicyAuthorize: *session*, whose digest is *policy*, has what *key* approves of."""
    parameters = tpm.sized(policy) + tpm.sized(b"") + tpm.sized(key.name) + ticket
    return tpm.command(POLICY_AUTHORIZE, [session], parameters)
