"""What the host keys of the SSH server may be. Pure.

A key that sshd cannot read would leave the machine without SSH, so it is looked at here.
Source: OpenSSH, PROTOCOL.key.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

from orlop.wire.config.kinds import Kind
from orlop.wire.ssh_public import MAGIC, PLAIN

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

TYPES = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-sha2-", "rsa": "ssh-rsa"}
_FORMS = {"OPENSSH": tuple(TYPES), "RSA": ("rsa",), "EC": ("ecdsa",), "": tuple(TYPES)}
"""What stands before `PRIVATE KEY` in the first line, and the keys that it may be of."""


def _problem(kind: str, lines: list[str]) -> str:
    """Why *lines* are no key of *kind*; empty if they are."""
    head, *body, tail = lines if len(lines) > 2 else ("", "")
    form = head.removeprefix("-----BEGIN ").removesuffix("PRIVATE KEY-----").strip()
    if head != f"-----BEGIN {form} PRIVATE KEY-----".replace("  ", " ") or form == "ENCRYPTED":
        return "must be a private key, with its first line, without a passphrase"
    if tail != head.replace("BEGIN", "END"):
        return "is not whole: its last line is missing"
    if kind not in _FORMS.get(form, ()):
        return f"is no key of type {kind}"
    try:
        data = binascii.a2b_base64("".join(body), strict_mode=True)
    except ValueError:
        return "is no private key, or has a passphrase"
    if form != "OPENSSH":
        return "" if data[:1] == b"\x30" else "is no private key"
    if not data.startswith(MAGIC + PLAIN):
        return "must be a private key without a passphrase"
    name = TYPES[kind].encode()
    start = len(MAGIC) + len(PLAIN) + 8
    return "" if data[start:].startswith(name) else f"is no key of type {kind}"


def host_key(kind: str) -> Kind:
    """A private key of *kind*, as ssh-keygen writes it."""

    def check(fields: Fields, key: str) -> Json:
        lines = [line.strip() for line in fields.string(key).strip().splitlines()]
        if problem := _problem(kind, lines):
            fields.fail(key, problem)
        return "".join(f"{line}\n" for line in lines)

    return Kind("private key", {"type": "string"}, check)
