"""How registries are reached: what is trusted, what is shown, which proxy. In the worker only.

The directory of a registry is read as dockerd reads `certs.d/HOST`: every `*.crt` is an authority
in addition to the system's, every `NAME.cert` with its `NAME.key` a certificate of ours.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop.engine.registry.settings import Registries

PACKAGED_AUTHORITIES = "/usr/share/ca-certificates/mozilla"
"""Where Debian's package has them, one a file; the usual bundle is made when it is installed."""

_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
_EXPIRED = frozenset({9, 10})
_WRONG_NAME = frozenset({62, 64})
"""X509_V_ERR_* of openssl/x509_vfy.h."""

_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}
)


class Contexts:
    """One context per registry, all made before privileges are gone: keys are root's."""

    def __init__(self, registries: Registries, hosts: Iterable[str]) -> None:
        """Read what is on disk for *hosts* (`name[:port]`)."""
        self._authorities = read_authorities(registries.authorities, PACKAGED_AUTHORITIES)
        self.proxies = registries.proxies
        self._contexts: dict[str, ssl.SSLContext | InvalidArgument] = {}
        for host in hosts:
            if os.path.basename(host) == host:
                directory = Path(registries.certificates) / host
                known = registries.find(host)
                try:
                    self._contexts[host] = self._make(
                        directory, insecure=False, more=known.authorities if known else ""
                    )
                except InvalidArgument as error:
                    self._contexts[host] = error
        self._checked = self._make(None, insecure=False)
        self._unchecked = self._make(None, insecure=True)

    def get(self, host: str, *, insecure: bool) -> ssl.SSLContext:
        """For *host*; one that has no directory gets the system's authorities.

        Raises:
            InvalidArgument: a certificate without its key, or one that cannot be read.
        """
        if insecure:
            return self._unchecked
        found = self._contexts.get(host, self._checked)
        if isinstance(found, InvalidArgument):
            raise found
        return found

    def _make(self, directory: Path | None, *, insecure: bool, more: str = "") -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            for text in filter(None, (self._authorities, more)):
                try:
                    context.load_verify_locations(cadata=text)
                except ValueError as error:  # SSLError is one
                    raise InvalidArgument(f"a configured authority cannot be read: {error}") from (
                        error
                    )
            if directory is not None:
                _load_directory(context, directory)
        return context


def read_authorities(*places: str) -> str:
    """The certificates in the first of *places* that there is: a file, or a directory of `*.crt`.

    Empty if there is none: then only registries with authorities of their own are reachable.
    """
    for place in map(Path, places):
        try:
            files = sorted(place.glob("*.crt")) if place.is_dir() else [place]
            text = "".join(file.read_text("ascii", "ignore") for file in files)
        except OSError:
            continue
        if "-----BEGIN CERTIFICATE-----" in text:
            return text
    return ""


def _load_directory(context: ssl.SSLContext, directory: Path) -> None:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        path = directory / name
        try:
            match path.suffix:
                case ".crt":
                    context.load_verify_locations(cafile=path)
                case ".cert":
                    key = path.with_suffix(".key")
                    if key.name not in names:
                        raise InvalidArgument(
                            f"missing key {key.name} for client certificate {name}. CA "
                            "certificates must use the extension .crt"
                        )
                    context.load_cert_chain(path, key)
                case ".key":
                    if path.with_suffix(".cert").name not in names:
                        raise InvalidArgument(
                            f"missing client certificate {path.stem}.cert for key {name}"
                        )
        except OSError as error:  # SSLError is one
            raise InvalidArgument(f"cannot use {path}: {error.strerror or error}") from error


def describe(error: ssl.SSLError, host: str) -> str:
    """What Go's TLS says in the same case, which is what people search for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in _UNKNOWN_AUTHORITY:
            reason = "certificate signed by unknown authority"
        elif code in _EXPIRED:
            reason = "certificate has expired or is not yet valid"
        elif code in _WRONG_NAME:
            reason = f"certificate is not valid for {host}"
        else:
            reason = error.verify_message or f"verification error {code}"
        return f"tls: failed to verify certificate: x509: {reason}"
    if error.reason in _NOT_TLS:
        return "http: server gave HTTP response to HTTPS client"
    reason = (error.reason or error.strerror or "handshake failed").replace("_", " ").lower()
    return f"remote error: tls: {reason}"
