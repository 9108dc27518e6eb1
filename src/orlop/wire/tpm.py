"""Commands to a TPM 2.0 and its answers, as bytes: what sealing and unsealing a key needs. Pure.

Source: TCG TPM 2.0 Library 1.59, part 2 (structures), part 3 (commands); the templates of storage
keys are those of the TPM 2.0 Provisioning Guidance, 7.5.1. Answers may come from a liar.
"""

from __future__ import annotations

from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from dataclasses import dataclass
from struct import pack
from typing import TYPE_CHECKING

from orlop.lib.errors import Conflict, Internal, OrlopError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_BYTES = 4096
"""Of a command or an answer; no TPM takes or gives more."""
HEAD_BYTES = 10
PCRS = 24

NO_SESSIONS, SESSIONS = 0x8001, 0x8002
OWNER, NULL, PASSWORD = 0x40000001, 0x40000007, 0x40000009
SHARED_PARENT = 0x81000001
"""Where the storage key of all is kept in the TPM, if somebody has put it there."""

CREATE_PRIMARY, CREATE, LOAD, UNSEAL = 0x131, 0x153, 0x157, 0x15E
START_SESSION, FLUSH, PCR_READ = 0x176, 0x165, 0x17E
POLICY_PCR, POLICY_DIGEST = 0x17F, 0x189

_RSA, _AES, _KEYED_HASH, _SHA256, _NONE, _ECC, _CFB = 0x01, 0x06, 0x08, 0x0B, 0x10, 0x23, 0x43
_P256, _POLICY, _CONTINUE = 0x03, 0x01, 0x01
BANKS = {"sha1": (0x04, 20), "sha256": (_SHA256, 32), "sha384": (0x0C, 48)}
"""By name: TPM_ALG_ID, and bytes of a value."""

# TPMA_OBJECT
_FIXED, _WITH_AUTH, _NO_LOCKOUT = 0x12, 0x40, 0x400
_STORAGE_KEY = _FIXED | 0x20 | _WITH_AUTH | 0x10000 | 0x20000  # own secret, restricted, decrypts

INTEGRITY, POLICY_FAIL, SIGNATURE = 0x9F, 0x9D, 0x9B
TRANSIENT = (0x908, 0x90A, 0x922)
"""TPM_RC_YIELDED, TESTING, RETRY."""
_REASONS = {
    INTEGRITY: "it was sealed by another TPM, or this one was reset",
    POLICY_FAIL: "what the machine has measured into its registers (PCRs) is not what it was",
    SIGNATURE: "the signature is wrong",
    0x101: "the TPM has failed",
    0x100: "nobody has started the TPM",
    0x120: "the TPM is switched off",
    0x921: "the TPM is locked after wrong attempts",
    0xA2: "the TPM's owner has a password",
}


class TpmError(OrlopError):
    """The TPM refuses; *code* is TPM_RC without what says which parameter it is about."""

    def __init__(self, code: int) -> None:
        self.code = code & 0xBF if code & 0x80 else code & 0xFFF
        super().__init__(_REASONS.get(self.code, f"the TPM answers with error {code:#x}"))


class Reader:
    """The parts of an answer, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        """*count* bytes.

        Raises:
            Internal: there are fewer.
        """
        found = self._data[self._at : self._at + count]
        if len(found) != count:
            raise Internal("the TPM's answer is too short")
        self._at += count
        return found

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count))

    def sized(self) -> bytes:
        """A TPM2B."""
        return self.take(self.number(2))


def sized(data: bytes) -> bytes:
    """*data* as a TPM2B."""
    return pack(">H", len(data)) + data


def command(
    code: int, handles: Sequence[int] = (), parameters: bytes = b"", session: int = 0
) -> bytes:
    """A whole command; the first handle is authorized by *session*, if it is one.

    `PASSWORD` is the session of an empty password; a policy's stays open.
    """
    body = b"".join(pack(">I", handle) for handle in handles)
    if session:
        keep = 0 if session == PASSWORD else _CONTINUE
        area = pack(">IHBH", session, 0, keep, 0)
        body += pack(">I", len(area)) + area
    body += parameters
    tag = SESSIONS if session else NO_SESSIONS
    return pack(">HII", tag, HEAD_BYTES + len(body), code) + body


def length_of(head: bytes) -> int:
    """How long the answer is that begins with *head*.

    Raises:
        Internal: that is no answer.
    """
    length = int.from_bytes(head[2:6])
    if len(head) < HEAD_BYTES or not HEAD_BYTES <= length <= MAX_BYTES:
        raise Internal("the TPM's answer is none")
    return length


def answer(data: bytes, *, handle: bool = False) -> tuple[int, Reader]:
    """The handle, if the command gives one, else 0, and the parameters.

    Raises:
        TpmError: the TPM says no. Internal: it is no whole answer.
    """
    if length_of(data) != len(data):
        raise Internal("the TPM's answer is too short")
    reader = Reader(data)
    tag = reader.number(2)
    reader.take(4)
    if code := reader.number(4):
        raise TpmError(code)
    found = reader.number(4) if handle else 0
    if tag == SESSIONS:
        return found, Reader(reader.take(reader.number(4)))
    return found, reader


def storage_templates(algorithm: str) -> list[bytes]:
    """TPMT_PUBLIC of the keys below which others may have sealed, the usual one first.

    The TPM derives the same key from the same template. *algorithm* is `ecc` or `rsa`. The second
    has the zeros that the guidance asks for, the third is systemd's before version 254.
    """
    cipher = pack(">HHHH", _AES, 128, _CFB, _NONE)
    kind, rest, zeros = (
        (_ECC, pack(">HH", _P256, _NONE), sized(bytes(32)) * 2)
        if algorithm == "ecc"
        else (_RSA, pack(">HI", 2048, 0), sized(bytes(256)))
    )
    empty = bytes(4 if algorithm == "ecc" else 2)
    usual = _STORAGE_KEY | _NO_LOCKOUT
    return [
        pack(">HHIH", kind, _SHA256, attributes, 0) + cipher + rest + unique
        for attributes, unique in ((usual, empty), (usual, zeros), (_STORAGE_KEY, empty))
    ]


def create_primary(template: bytes) -> bytes:
    """TPM2_CreatePrimary of the owner's; gives a handle."""
    sensitive = sized(sized(b"") + sized(b""))
    parameters = sensitive + sized(template) + sized(b"") + pack(">I", 0)
    return command(CREATE_PRIMARY, [OWNER], parameters, PASSWORD)


def create_sealed(parent: int, secret: bytes, policy: bytes) -> bytes:
    """TPM2_Create of an object with *secret* that only *policy* opens; gives a `Sealed`."""
    attributes = _FIXED | _NO_LOCKOUT
    public = pack(">HHI", _KEYED_HASH, _SHA256, attributes) + sized(policy)
    public += pack(">H", _NONE) + sized(b"")
    parameters = sized(sized(b"") + sized(secret)) + sized(public) + sized(b"") + pack(">I", 0)
    return command(CREATE, [parent], parameters, PASSWORD)


@dataclass(frozen=True, slots=True)
class Sealed:
    """TPM2B_PRIVATE and TPM2B_PUBLIC, without their lengths: only this TPM can use them."""

    private: bytes
    public: bytes

    def blob(self) -> bytes:
        """As systemd stores them, and tpm2-tools in two files."""
        return sized(self.private) + sized(self.public)


def read_sealed(reader: Reader) -> Sealed:
    """What begins with the two.

    Raises:
        Internal: it does not.
    """
    return Sealed(reader.sized(), reader.sized())


def load(parent: int, sealed: Sealed) -> bytes:
    """TPM2_Load; gives a handle."""
    return command(LOAD, [parent], sealed.blob(), PASSWORD)


def start_session(nonce: bytes) -> bytes:
    """TPM2_StartAuthSession for a policy. Gives a handle."""
    parameters = sized(nonce) + sized(b"") + pack(">B", _POLICY)
    return command(START_SESSION, [NULL, NULL], parameters + pack(">HH", _NONE, _SHA256))


def selection(bank: str, pcrs: Sequence[int]) -> bytes:
    """TPML_PCR_SELECTION of one *bank*."""
    bits = sum(1 << pcr for pcr in pcrs)
    return pack(">IHB", 1, BANKS[bank][0], PCRS // 8) + bits.to_bytes(PCRS // 8, "little")


def policy_pcr(session: int, bank: str, pcrs: Sequence[int]) -> bytes:
    """TPM2_PolicyPCR: the registers as they are now."""
    return command(POLICY_PCR, [session], sized(b"") + selection(bank, pcrs))


def policy_of_values(before: bytes, bank: str, values: Mapping[int, bytes]) -> bytes:
    """The digest of a policy that is *before* and then asks for registers with *values*, by number
    in rising order."""
    digest = sha256(b"".join(values.values())).digest()
    return bytes(
        sha256(before + pack(">I", POLICY_PCR) + selection(bank, [*values]) + digest).digest()
    )


def read_pcr(bank: str, pcr: int) -> bytes:
    """TPM2_PCR_Read of one register."""
    return command(PCR_READ, (), selection(bank, [pcr]))


def pcr_value(reader: Reader, bank: str) -> bytes:
    """What the answer to `read_pcr` says.

    Raises:
        Conflict: the TPM does not keep that bank. Internal: no such answer.
    """
    reader.take(4)  # how often registers have changed
    for _ in range(min(reader.number(4), len(BANKS))):
        reader.take(2)
        reader.take(reader.number(1))
    if reader.number(4) != 1:
        raise Conflict(f"the TPM keeps no {bank} registers")
    value = reader.sized()
    if len(value) != BANKS[bank][1]:
        raise Internal("the TPM's answer has a register of another size")
    return value


def is_blank(value: bytes) -> bool:
    """Whether a register's *value* is one that nobody has measured anything into."""
    return value in (bytes(len(value)), b"\xff" * len(value))
