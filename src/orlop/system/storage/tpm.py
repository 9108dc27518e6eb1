"""Seals a key in the machine's TPM and has it back, over `/dev/tpmrm0` or a Unix socket.

Used by `storage.tpm_worker` alone: what a TPM answers is looked at without privileges. The kernel
waits for the TPM; whoever starts the worker has the limit. The key crosses the bus to the TPM as it
is.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from orlop.lib.errors import Conflict, NotFound, OrlopError, Unavailable
from orlop.system.storage.tpm_lock import DEVICE, PCR
from orlop.wire import signed_policy, tpm
from orlop.wire.luks_header import Token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop.wire.signed_policy import PolicyKey

ALGORITHM, BANK = "ecc", "sha256"
NONCE_BYTES = 16
IMAGE_PCR = 11
"""Into which systemd's stub measures the image, and nobody anything else."""
RETRY_PAUSES_S = (0.02, 0.1, 0.5, 1.0, 1.0, 2.0, 2.0)
"""A TPM that tests itself, or tidies up, wants to be asked again."""


class Policy(NamedTuple):
    """What a signed image has brought with it: a public key in PEM, and signatures as JSON."""

    key: bytes = b""
    signatures: bytes = b""


NO_POLICY = Policy()


def connect(path: str = DEVICE) -> int:
    """A descriptor to the TPM at *path*, a device of the kernel's or a socket.

    Raises:
        NotFound: there is none. Unavailable: it cannot be used.
    """
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        import socket

        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            return connection.detach()
    except FileNotFoundError:
        raise NotFound("this machine has no TPM 2.0") from None
    except OSError as error:
        raise Unavailable(f"the TPM cannot be used: {error.strerror}") from None


class Tpm:
    """The TPM behind *descriptor*, which it does not close."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def _ask(self, command: bytes, *, handle: bool = False) -> tuple[int, tpm.Reader]:
        for pause_s in (*RETRY_PAUSES_S, None):
            try:
                return tpm.answer(self._exchange(command), handle=handle)
            except tpm.TpmError as error:
                if error.code not in tpm.TRANSIENT or pause_s is None:
                    raise
                time.sleep(pause_s)
        raise AssertionError

    def _exchange(self, command: bytes) -> bytes:
        try:
            os.write(self._descriptor, command)
            data = os.read(self._descriptor, tpm.MAX_BYTES)
            while data and (missing := self._missing(data)) > 0:  # a socket gives parts
                more = os.read(self._descriptor, missing)
                if not more:
                    break
                data += more
        except OSError as error:
            raise Unavailable(f"the TPM does not answer: {error.strerror}") from None
        return data

    @staticmethod
    def _missing(data: bytes) -> int:
        if len(data) < tpm.HEAD_BYTES:
            return tpm.HEAD_BYTES - len(data)
        return tpm.length_of(data) - len(data)

    @contextmanager
    def _made(self, command: bytes) -> Iterator[int]:
        """The handle that *command* gives, for a block."""
        handle, _ = self._ask(command, handle=True)
        try:
            yield handle
        finally:
            self._ask(tpm.command(tpm.FLUSH, (), handle.to_bytes(4)))

    def check(self, pcrs: Sequence[int]) -> None:
        """Whether something can be sealed to *pcrs*.

        Raises:
            OrlopError: the TPM does not work, or nothing has been measured into them.
        """
        self._values(pcrs)

    def _values(self, pcrs: Sequence[int]) -> list[bytes]:
        """What *pcrs* hold.

        Raises:
            Conflict: nothing has been measured into them; any system could open what is sealed.
        """
        values = [tpm.pcr_value(self._ask(tpm.read_pcr(BANK, pcr))[1], BANK) for pcr in pcrs]
        if not values or all(map(tpm.is_blank, values)):
            raise Conflict(
                "this machine's firmware has measured nothing into these registers (PCRs): any "
                "system that is started on it could open the disk",
                hint="PCR 7 needs a machine that starts by UEFI; --pcrs names others",
            )
        return values

    def seal(
        self, secret: bytes, slot: str, pcrs: Sequence[int], policy: Policy = NO_POLICY
    ) -> tuple[Token, bytes]:
        """*secret*, for when *pcrs* are as now and `tpm_lock.PCR` is not used yet; policy's digest.

        If *policy* says that what the image has measured is signed, that is asked for as well: not
        the values of now, but any that the same key has signed.

        Raises:
            OrlopError: the TPM refuses.
        """
        values = dict(zip(pcrs, self._values(pcrs), strict=True))
        values = dict(sorted((values | {PCR: bytes(tpm.BANKS[BANK][1])}).items()))
        key = None if IMAGE_PCR in pcrs else self._signer(policy)
        digest = tpm.policy_of_values(key.policy if key else bytes(32), BANK, values)
        with self._made(tpm.create_primary(tpm.storage_templates(ALGORITHM)[0])) as parent:
            reader = self._ask(tpm.create_sealed(parent, secret, digest))[1]
            sealed = tpm.read_sealed(reader)
            with self._made(tpm.load(parent, sealed)):
                pass  # the TPM can use it
        signed = (key.pem, (IMAGE_PCR,)) if key else (b"", ())
        return Token((slot,), sealed, tuple(values), BANK, ALGORITHM, *signed), digest

    def _signer(self, policy: Policy) -> PolicyKey | None:
        """The key of *policy*, if it has signed for the image that runs."""
        if not policy.key:
            return None
        try:
            key = signed_policy.parse_key(policy.key)
            with self._made(tpm.start_session(os.urandom(NONCE_BYTES))) as session:
                self._authorize(session, key, BANK, (IMAGE_PCR,), policy.signatures)
        except OrlopError:  # BIOS, recovery, a part of the TPM that is not there
            return None
        return key

    def unseal(self, token: Token, signatures: bytes = b"") -> bytes:
        """What was sealed; *signatures* are those of the image that runs.

        Raises:
            TpmError: the registers are not as they were, or another TPM has sealed it.
        """
        last: OrlopError = NotFound("no key to open it")
        for parent in (None, *tpm.storage_templates(token.algorithm)):
            try:
                if parent is None:
                    return self._unseal_below(tpm.SHARED_PARENT, token, signatures)
                with self._made(tpm.create_primary(parent)) as handle:
                    return self._unseal_below(handle, token, signatures)
            except tpm.TpmError as error:
                if error.code in (tpm.POLICY_FAIL, tpm.SIGNATURE):
                    raise  # that was its parent
                last = error
        raise last

    def _unseal_below(self, parent: int, token: Token, signatures: bytes) -> bytes:
        with (
            self._made(tpm.load(parent, token.sealed)) as sealed,
            self._made(tpm.start_session(os.urandom(NONCE_BYTES))) as session,
        ):
            if token.signed_pcrs:
                key = signed_policy.parse_key(token.signer)
                self._authorize(session, key, token.bank, token.signed_pcrs, signatures)
            if token.pcrs:
                self._ask(tpm.policy_pcr(session, token.bank, token.pcrs))
            return self._ask(tpm.command(tpm.UNSEAL, [sealed], b"", session))[1].sized()

    def _authorize(
        self, session: int, key: PolicyKey, bank: str, pcrs: Sequence[int], signatures: bytes
    ) -> None:
        """Let *session* have what *key* has signed for what *pcrs* hold now.

        Raises:
            Conflict: it has not. TpmError: the signature is wrong.
        """
        self._ask(tpm.policy_pcr(session, bank, pcrs))
        policy = self._ask(tpm.command(tpm.POLICY_DIGEST, [session]))[1].sized()
        signature = signed_policy.find_signature(signatures, key, bank, pcrs, policy)
        with self._made(signed_policy.load_external(key)) as handle:
            asked = signed_policy.verify_signature(handle, policy, signature)
            ticket = signed_policy.read_ticket(self._ask(asked)[1])
        self._ask(signed_policy.policy_authorize(session, policy, key, ticket))
