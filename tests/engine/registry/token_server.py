"""A token server for the registry, certificates, and everything else that takes a key."""

from __future__ import annotations

import base64
import datetime
import http.server
import ipaddress
import json
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

ISSUER, SERVICE = "test issuer", "test registry"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Signs certificates; PEM files in *directory*."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("authority", self.key)
        self.path = directory / "authority.crt"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, address: str = "127.0.0.1") -> tuple[Path, Path]:
        """A certificate for *address* and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key, address)
        paths = self._directory / f"{name}.cert", self._directory / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return paths

    def _sign(
        self, name: str, key: ec.EllipticCurvePrivateKey, address: str = ""
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name("authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=not address, path_length=None), critical=True)
        )
        if address:
            names = [x509.IPAddress(ipaddress.ip_address(address))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        return builder.sign(self.key, hashes.SHA256())


class TokenServer:
    """Gives tokens to *users*; anonymous ones may pull what begins with `public`.

    `requests` has the scopes that were asked for.
    """

    def __init__(self, directory: Path, users: dict[str, str]) -> None:
        self.users = users
        self.requests: list[str] = []
        self._authority = Authority(directory)
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.tokens = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def settings(self) -> dict[str, Any]:
        """For the registry."""
        return {
            "token": {
                "realm": f"http://127.0.0.1:{self._server.server_address[1]}/token",
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(self._authority.path),
            }
        }

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def authorization(self, scope: str) -> str:
        """A header for tests that ask the registry themselves."""
        return f"Bearer {self._token([scope], known=True)}"

    def answer(self, scopes: list[str], credentials: tuple[str, str] | None) -> tuple[int, Any]:
        """Status and body for a request with *scopes*."""
        self.requests += scopes
        if credentials is not None and self.users.get(credentials[0]) != credentials[1]:
            return 401, {"details": "incorrect username or password"}
        known = credentials is not None
        body: dict[str, Any] = {"token": self._token(scopes, known=known), "expires_in": 300}
        if credentials is not None:
            body["refresh_token"] = f"refresh-{credentials[0]}"
        return 200, body

    def _token(self, scopes: list[str], *, known: bool) -> str:
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = actions.split(",") if known else ["pull"]
            if known or name.startswith("public"):
                access.append({"type": kind, "name": name, "actions": allowed})
        now = int(time.time())
        chain = self._authority.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(chain).decode()]}
        claims = {
            "iss": ISSUER,
            "aud": SERVICE,
            "sub": "somebody",
            "iat": now - 10,
            "nbf": now - 10,
            "exp": now + 300,
            "jti": str(now),
            "access": access,
        }
        signed = ".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
        signature = self._authority.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        return f"{signed}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        credentials = None
        if kind == "Basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            credentials = user, password
        self._answer(query.get("scope", []), credentials)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        user = form["refresh_token"][0].removeprefix("refresh-")
        tokens: TokenServer = self.server.tokens  # type: ignore[attr-defined]
        self._answer(form.get("scope", [""])[0].split(), (user, tokens.users.get(user, "?")))

    def _answer(self, scopes: list[str], credentials: tuple[str, str] | None) -> None:
        tokens: TokenServer = self.server.tokens  # type: ignore[attr-defined]
        status, body = tokens.answer(scopes, credentials)
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
