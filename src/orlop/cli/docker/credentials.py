"""Who the user is at a registry: from config.json into the header that the engine passes on."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64

from orlop.cli.docker.session import as_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.session import Object, Session
    from orlop.wire.registry.reference import Reference

DEFAULT_SERVER = "https://index.docker.io/v1/"
"""Docker's registry, as config.json calls it."""


def server_of(reference: Reference) -> str:
    """The key in config.json of the registry that *reference* is at."""
    return DEFAULT_SERVER if reference.domain == "docker.io" else reference.domain


def header_for(session: Session, server: str) -> dict[str, str]:
    """The header X-Registry-Auth for the registry *server*; of nobody if the user is not known."""
    return {"X-Registry-Auth": encode(known(session).get(server, {}))}


def all_header(session: Session) -> dict[str, str]:
    """The header X-Registry-Config with all registries, for a build."""
    return {"X-Registry-Config": encode(dict(known(session)))}


def known(session: Session) -> dict[str, Object]:
    """Registry to the user there, as config.json has them."""
    stored = session.config.get("auths")
    found: dict[str, Object] = {}
    for server, value in (stored if isinstance(stored, dict) else {}).items():
        entry = as_object(value)
        auth: Object = {}
        if entry.get("auth"):
            name, _, password = (
                a2b_base64(str(entry["auth"])).decode(errors="replace").partition(":")
            )
            auth |= {"username": name, "password": password.rstrip("\0")}
        for key in ("identitytoken", "registrytoken"):
            if entry.get(key):
                auth[key] = entry[key]
        if auth:
            found[server] = {**auth, "serveraddress": server}
    return found


def encode(value: object) -> str:
    """*value* as JSON in base64 that may stand in a URL."""
    from json import dumps

    text = b2a_base64(dumps(value, separators=(",", ":")).encode(), newline=False).decode()
    return text.replace("+", "-").replace("/", "_")
