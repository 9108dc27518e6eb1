"""All documents; those with keys in them are made when they are wanted."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from tests.engine.containers.test_tls import make, sign
from tests.rancheros.engine import ENGINE
from tests.rancheros.machine import MACHINE
from tests.rancheros.network import NETWORK
from tests.rancheros.seen import CERTIFICATES, HOST_KEYS, KEY, Document

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS: tuple[Document, ...] = (*MACHINE, *NETWORK, *ENGINE)


def generated(directory: Path) -> tuple[Document, ...]:
    """Documents with keys and certificates in them, made in *directory*."""
    keys: dict[str, str] = {}
    for kind in HOST_KEYS:
        path = directory / kind
        subprocess.run(
            ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path)], check=True
        )
        keys[kind] = path.read_text()
    make(directory, "ca", "-x509", "-subj", "/CN=ca")
    sign(directory, "server", "ca")
    pem = {key: (directory / f"{name}.pem").read_text() for key, name in CERTIFICATES.items()}
    return (
        Document(
            tuple(f"rancher.ssh.keys.{kind}" for kind in HOST_KEYS),
            json.dumps({"ssh_authorized_keys": [KEY], "rancher": {"ssh": {"keys": keys}}}),
            lambda seen: all(
                seen.inside("ssh", f"/etc/ssh/host_key_{kind}").read_text().strip() == text.strip()
                for kind, text in keys.items()
            ),
            "for kind in ed25519 ecdsa rsa; do "
            "orlop exec ssh test -s /etc/ssh/host_key_$kind || exit; done",
        ),
        Document(
            tuple(f"rancher.docker.{key}" for key in pem),
            json.dumps({"rancher": {"docker": {"tls": True, **pem}}}),
            lambda seen: (
                [str(seen.told("engine", "tls", key)).strip() for key in pem]
                == [text.strip() for text in pem.values()]
            ),
            "netstat -tln | grep -q ':2376 '",
        ),
    )
