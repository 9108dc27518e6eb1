"""An authority for mutual TLS in a directory: its certificate and key, and those of one server.

Keys are files of mode 0600, in a directory of mode 0700. Each file is replaced by rename; a key and
its certificate are a pair only together, so a server whose certificate does not fit its key, after
a power cut between the two, gets new ones.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file, certificate, signing
from orlop.lib.certificate import Purpose, Wanted
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.lib.certificate import Found
    from orlop.lib.signing import SigningKey

DIRECTORY = Path("/var/lib/orlop/tls")
CA, CA_KEY, SERVER, SERVER_KEY = "ca.pem", "ca-key.pem", "server-cert.pem", "server-key.pem"
HOSTS = "server-hosts"
"""What the server's certificate is for, a line each."""
AUTHORITY_DAYS, DAYS = 3650, 365
RENEW_DAYS = 30
"""Whose certificate has fewer left is warned."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM."""

    certificate: str
    key: str


class Authority:
    """What is in *directory*."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self.directory = directory

    def ensure(self, name: str) -> None:
        """Make the authority unless there is one, called after the machine *name*.

        Raises:
            OSError: the directory cannot be written.
        """
        if not self._has(CA, CA_KEY):
            self.renew(name)

    def renew(self, name: str) -> None:
        """Make a new authority: no certificate of the one before counts any more."""
        key = signing.generate()
        number = key_id(key.public)
        found = _sign(
            key,
            Wanted(
                name=name,
                issuer=certificate.name_of(f"{name} authority {number[:4].hex()}"),
                days=AUTHORITY_DAYS,
                purpose=Purpose.AUTHORITY,
                key=key.public,
                key_id=number,
                issuer_key_id=number,
            ),
        )
        self._write(CA_KEY, certificate.pem("EC PRIVATE KEY", key.private))
        self._write(CA, found)

    def make(
        self, purpose: Purpose, name: str, *, days: int = DAYS, hosts: Sequence[str] = ()
    ) -> Pair:
        """A certificate for a server or a client *name*, and a new key for it.

        Raises:
            NotFound: there is no authority.
            InvalidArgument: its files, or a host, are not what they should be.
        """
        signer = signing.load(certificate.from_pem(self.read(CA_KEY)))
        authority = self.describe(CA)
        if authority.key != signer.public:
            raise InvalidArgument(f"{CA_KEY} is not the key of {CA}", hint="orlop tls renew --ca")
        key = signing.generate()
        text = _sign(
            signer,
            Wanted(
                name=name,
                issuer=authority.subject,
                days=days,
                purpose=purpose,
                key=key.public,
                key_id=key_id(key.public),
                issuer_key_id=authority.key_id,
                hosts=hosts,
            ),
        )
        return Pair(text, certificate.pem("EC PRIVATE KEY", key.private))

    def make_server(self, name: str, *, days: int = DAYS, hosts: Sequence[str] = ()) -> None:
        """The server's own certificate and key, into their files."""
        pair = self.make(Purpose.SERVER, name, days=days, hosts=hosts)
        self._write(SERVER_KEY, pair.key)
        self._write(SERVER, pair.certificate)
        self._write(HOSTS, "".join(f"{host}\n" for host in hosts))

    def keep_server(self, name: str, hosts: Sequence[str]) -> bool:
        """Make the server's certificate anew unless it is whole, lasts, and is for all of *hosts*;
        whether it was made."""
        known = self.hosts()
        if self.server_is_whole() and set(hosts) <= set(known):
            left_s = self.describe(SERVER).ends_s - time.time()
            if left_s > RENEW_DAYS * 86400:
                return False
        self.make_server(name, hosts=list(dict.fromkeys([*hosts, *known])))
        return True

    def hosts(self) -> list[str]:
        """What the server's certificate is for."""
        try:
            return self.read(HOSTS).split()
        except NotFound:
            return []

    def server_is_whole(self) -> bool:
        """Are there a certificate and a key of the server that fit, signed by this authority?"""
        try:
            found = self.describe(SERVER)
            key = signing.load(certificate.from_pem(self.read(SERVER_KEY)))
            return found.key == key.public and found.issuer == self.describe(CA).subject
        except OrlopError:
            return False

    def describe(self, name: str) -> Found:
        """What the certificate in file *name* says.

        Raises:
            NotFound, InvalidArgument: there is none.
        """
        return certificate.read(certificate.from_pem(self.read(name)))

    def read(self, name: str) -> str:
        """The text of file *name*.

        Raises:
            NotFound: there is none, or it cannot be read.
        """
        try:
            return (self.directory / name).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NotFound(
                f"{self.directory / name}: {getattr(error, 'strerror', None) or 'not a text'}",
                hint="orlop tls generate --server",
            ) from None

    def replace(self, files: dict[str, str]) -> bool:
        """Have these texts instead, file by file; whether one is new."""
        changed = False
        for name, text in files.items():
            with contextlib.suppress(NotFound):
                if self.read(name) == text:
                    continue
            self._write(name, text)
            changed = True
        return changed

    def _has(self, *names: str) -> bool:
        return all((self.directory / name).exists() for name in names)

    def _write(self, name: str, text: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        mode = 0o600 if "key" in name else 0o644
        atomic_file.write_text(self.directory / name, text, mode=mode)


def _sign(signer: SigningKey, wanted: Wanted) -> str:
    part = certificate.to_sign(wanted, signer_is_rsa=signer.is_rsa)
    signature = signing.sign(signer, part)
    der = certificate.signed(part, signature, signer_is_rsa=signer.is_rsa)
    return certificate.pem("CERTIFICATE", der)


def key_id(public: bytes) -> bytes:
    """A number for a key, by which certificates name their signer's: any will do that differs."""
    from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]

    digest: bytes = sha256(public).digest()
    return digest[:20]
