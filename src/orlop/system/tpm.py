"""Seals a key in the machine's TPM and has it back, over `/dev/tpmrm0` or a Unix socket.

Used by `tpm_worker` alone: what a TPM answers is looked at without privileges. The kernel waits for
the TPM; whoever starts the worker has the limit. The key crosses the bus to the TPM as it is.
"""

from __future__ import annotations

import os
import stat
import time
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orlop.lib.errors import Conflict, NotFound, OrlopError, Unavailable
from orlop.system.tpm_lock import DEVICE, PCR
from orlop.wire import tpm
from orlop.wire.luks_header import Token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ALGORITHM, BANK = "ecc", "sha256"
NONCE_BYTES = 16
RETRY_PAUSES_S = (0.02, 0.1, 0.5, 1.0, 1.0, 2.0, 2.0)
"""A TPM that tests itself, or tidies up, wants to be asked again."""


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

    def _policy_digest(self, pcrs: Sequence[int], values: Sequence[bytes]) -> bytes:
        """The digest of the policy that *pcrs*, in rising order, have *values*."""
        nonce, digest = os.urandom(NONCE_BYTES), sha256(b"".join(values)).digest()
        with self._made(tpm.start_session(nonce, trial=True)) as session:
            self._ask(tpm.policy_pcr(session, BANK, pcrs, digest))
            return self._ask(tpm.command(tpm.POLICY_DIGEST, [session]))[1].sized()

    def seal(self, secret: bytes, slot: str, pcrs: Sequence[int]) -> tuple[Token, bytes]:
        """*secret*, for when *pcrs* are as now and `tpm_lock.PCR` is not used yet; policy's digest.

        Raises:
            OrlopError: the TPM refuses.
        """
        values = dict(zip(pcrs, self._values(pcrs), strict=True))
        values = dict(sorted((values | {PCR: bytes(tpm.BANKS[BANK][1])}).items()))
        digest = self._policy_digest([*values], [*values.values()])
        with self._made(tpm.create_primary(tpm.storage_templates(ALGORITHM)[0])) as parent:
            reader = self._ask(tpm.create_sealed(parent, secret, digest))[1]
            sealed = tpm.read_sealed(reader)
            with self._made(tpm.load(parent, sealed)):
                pass  # the TPM can use it
        return Token((slot,), sealed, tuple(values), BANK, ALGORITHM), digest

    def unseal(self, token: Token) -> bytes:
        """What was sealed.

        Raises:
            TpmError: the registers are not as they were, or another TPM has sealed it.
        """
        last: OrlopError = NotFound("no key to open it")
        for parent in (None, *tpm.storage_templates(token.algorithm)):
            try:
                if parent is None:
                    return self._unseal_below(tpm.SHARED_PARENT, token)
                with self._made(tpm.create_primary(parent)) as handle:
                    return self._unseal_below(handle, token)
            except tpm.TpmError as error:
                if error.code == tpm.POLICY_FAIL:
                    raise  # that was its parent
                last = error
        raise last

    def _unseal_below(self, parent: int, token: Token) -> bytes:
        with (
            self._made(tpm.load(parent, token.sealed)) as sealed,
            self._made(tpm.start_session(os.urandom(NONCE_BYTES), trial=False)) as session,
        ):
            if token.pcrs:
                self._ask(tpm.policy_pcr(session, token.bank, token.pcrs))
            return self._ask(tpm.command(tpm.UNSEAL, [sealed], b"", session))[1].sized()
