"""The worker that looks at the header of an encrypted disk and talks with the TPM about it.

`worker tpm VERB DEVICE TPM POLICY [PCR,...]`. It reads the header, and in the folder POLICY what a
signed image has left, and opens the TPM as root, gives everything else up, and only then looks at
what it has read. The answer to

    unseal    {"found"}: whether the disk has a key that a TPM has sealed; it is on descriptor 3
    check     {}, or why the TPM cannot seal to these registers; no device is looked at
    seal      {"key", "slot", "token", "own"}: what is to be added; nothing is written here
    look      {"own"}: the tokens that Orlop has made, each with its key slots
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

from orlop.engine.sandbox import Limits, drop_privileges
from orlop.engine.worker_process import report, report_error
from orlop.lib.errors import Conflict, InvalidArgument, OrlopError
from orlop.system.storage.tpm import NO_POLICY, Policy, Tpm, connect
from orlop.wire.luks_header import (
    BINARY_BYTES,
    Header,
    header_bytes,
    make_token,
    parse_header,
)
from orlop.wire.signed_policy import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEY_FILE, SIGNATURE_FILE = "tpm2-pcr-public-key.pem", "tpm2-pcr-signature.json"
KEY_BYTES = 32
KEY_DESCRIPTOR = 3
LIMITS = Limits(memory_bytes=256 << 20, cpu_s=60, file_bytes=1 << 20, open_files=8)


def main(argv: list[str]) -> int:
    """Read, drop, answer."""
    try:
        report(_work(*argv))
    except (OrlopError, OSError, MemoryError) as error:
        report_error(error)
    return 0


def _work(verb: str, device: str, path: str, folder: str, pcrs: str = "") -> Mapping[str, object]:
    data = read_header(device) if device else b""
    tpm: int | OrlopError = -1
    if verb != "look":
        try:
            tpm = connect(path)
        except OrlopError as error:
            tpm = error  # it matters only if there is something for it to open
    policy = read_policy(folder)
    drop_privileges(limits=LIMITS)

    def reach() -> Tpm:
        if isinstance(tpm, OrlopError):
            raise tpm
        return Tpm(tpm)

    if verb == "check":
        reach().check(_numbers(pcrs))
        return {}
    header = parse_header(data)
    if verb == "unseal":
        key = unseal(header, reach, policy)
        os.write(KEY_DESCRIPTOR, key)
        return {"found": bool(key)}
    if verb == "look":
        header.check_others()
        return {"own": header.own}
    return seal(header, reach(), _numbers(pcrs), policy)


def _numbers(pcrs: str) -> list[int]:
    return [int(pcr) for pcr in pcrs.split(",")]


def read_header(device: str) -> bytes:
    """The first of the two copies.

    Raises:
        InvalidArgument: *device* cannot be read, or is not encrypted with LUKS2.
    """
    try:
        with open(device, "rb", buffering=0) as stream:
            head = os.pread(stream.fileno(), BINARY_BYTES, 0)
            return os.pread(stream.fileno(), header_bytes(head), 0)
    except OSError as error:
        raise InvalidArgument(f"{device} cannot be read: {error.strerror}") from None
    except InvalidArgument as error:
        raise InvalidArgument(f"{device}: {error}") from None


def read_policy(folder: str) -> Policy:
    """What there is of a signed image in *folder*; empty without."""
    found = []
    for name in (KEY_FILE, SIGNATURE_FILE):
        try:
            with open(f"{folder}/{name}", "rb") as stream:
                found.append(stream.read(MAX_BYTES))
        except OSError:
            return NO_POLICY
    return Policy(*found)


def unseal(header: Header, reach: Callable[[], Tpm], policy: Policy = NO_POLICY) -> bytes:
    """The key of the first token that the TPM opens; empty without a token.

    Raises:
        Conflict: there is one, and why it is not to be had.
    """
    problems = list(header.problems)
    for token in header.tokens:
        try:
            # The slot's passphrase is this text.
            return base64.b64encode(reach().unseal(token, policy.signatures))
        except OrlopError as error:
            problems.append(str(error))
    if problems:
        raise Conflict("; ".join(dict.fromkeys(problems)))
    return b""


def seal(
    header: Header, tpm: Tpm, pcrs: list[int], policy: Policy = NO_POLICY
) -> Mapping[str, object]:
    """A new key, sealed."""
    secret, slot = os.urandom(KEY_BYTES), header.free_slot()
    token, digest = tpm.seal(secret, slot, pcrs, policy)
    key = base64.b64encode(secret).decode()
    made = make_token(token, digest)
    signed = bool(token.signed_pcrs)
    return {"key": key, "slot": slot, "token": made, "own": header.own, "signed": signed}
