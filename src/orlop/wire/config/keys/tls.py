"""Keys of the user's engine on TCP, for clients with certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.wire.config import kinds
from orlop.wire.config.kinds import Kind
from orlop.wire.config.row import Applies, Key

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields


def _listen(fields: Fields, key: str) -> Json:
    text = fields.string(key).removeprefix("tcp://")
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in host:
        fields.fail(key, f"must be an address and a port such as 0.0.0.0:2376, not {text!r}")
    return text


def _private_key(fields: Fields, key: str) -> Json:
    text = fields.string(key).strip()
    first, last = text.split("\n")[0].strip(), text.split("\n")[-1].strip()
    if not first.startswith("-----BEGIN ") or not first.endswith("PRIVATE KEY-----"):
        fields.fail(key, "is no private key as PEM")
    if not last.startswith("-----END ") or any(c for c in text if not c.isprintable() and c > "\r"):
        fields.fail(key, "is no whole private key as PEM")
    return text.replace("\r", "") + "\n"


PRIVATE_KEY = Kind("private key as PEM", {"type": "string"}, _private_key)
LISTEN = Kind("ADDRESS:PORT", {"type": "string"}, _listen)

_PEM = '"-----BEGIN CERTIFICATE-----\\nMIIB…\\n-----END CERTIFICATE-----\\n"'
_KEY_PEM = '"-----BEGIN EC PRIVATE KEY-----\\nMHcC…\\n-----END EC PRIVATE KEY-----\\n"'

KEYS: tuple[Key, ...] = (
    Key(
        "orlop.engine.tls.enabled",
        kinds.BOOLEAN,
        "The Docker API on TCP for clients with certificates: `orlop tls client` makes those.",
        "true",
        default="false",
        applies=Applies.SERVICE,
        aliases=("rancher.docker.tls",),
    ),
    Key(
        "orlop.engine.tls.listen",
        LISTEN,
        "Where.",
        '"192.0.2.7:2376"',
        default="0.0.0.0:2376",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.tls.hosts",
        kinds.HOSTS,
        "Names and addresses that clients call the machine by, besides its own.",
        "[ship.example]",
        default="its name and addresses",
        applies=Applies.SERVICE,
    ),
    *(
        Key(
            f"orlop.engine.tls.{name}",
            PRIVATE_KEY if name.endswith("key") else kinds.CERTIFICATES,
            what,
            _KEY_PEM if name.endswith("key") else _PEM,
            default="made by the machine",
            applies=Applies.SERVICE,
            secret=name.endswith("key"),
            aliases=(f"rancher.docker.{name}",),
        )
        for name, what in (
            ("ca_cert", "Who signs the certificates of clients, as PEM."),
            ("ca_key", "And the key to sign with; without it the machine makes none for clients."),
            ("server_cert", "The engine's certificate, signed by that authority, as PEM."),
            ("server_key", "And its key."),
        )
    ),
)
