"""Images between the two engines, for the commands that need one on this or that side.

The user's engine pulls and builds; the system's engine has the images of the services and those
that were brought to it. What goes from one to the other is an archive, streamed.
"""

from __future__ import annotations

import sys

from orlop.cli.answers import get_object, text_of
from orlop.cli.client import Client
from orlop.cli.docker.session import query, quote
from orlop.lib.errors import Internal, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop.cli.answers import Object

__all__ = ["quote"]

SYSTEM_SOCKET = "/run/orlop/system.sock"
USER_SOCKET = "/run/orlop/docker/docker.sock"

CONSOLE = "orlop/console"
"""What the console's root is called where it is imported."""


def get_object_at(socket: str, target: str) -> Object:
    """The JSON object at *target* of the engine at *socket*."""
    return get_object(Client(socket), target)


def find(socket: str, image: str) -> Object | None:
    """The inspection of *image* on the engine at *socket*; None if it does not have it."""
    try:
        return get_object_at(socket, f"/images/{quote(image)}/json")
    except NotFound:
        return None


def has(socket: str, image: str) -> bool:
    """Whether the engine at *socket* has *image*."""
    return find(socket, image) is not None


def bring_to_user(image: str) -> None:
    """Let the user's engine have *image*, which is pulled if it does not.

    Raises:
        OrlopError: it cannot be had.
    """
    if has(USER_SOCKET, image):
        return
    import os

    from orlop.cli.docker.pull import pull
    from orlop.cli.docker.session import Session
    from orlop.wire.registry.reference import parse_reference

    found = parse_reference(image).with_default_tag()
    print(f"Pulling {found}", file=sys.stderr, flush=True)
    session = Session(f"unix://{USER_SOCKET}", os.path.expanduser("~/.docker"))
    pull(session, found, descriptor=2)


def bring_to_system(image: str) -> str:
    """Let the system's engine have *image*, by way of the user's engine; what it is called there.

    Raises:
        OrlopError: it cannot be had.
    """
    if has(SYSTEM_SOCKET, image):
        return image
    bring_to_user(image)
    print(f"Copying {image} to the system", file=sys.stderr, flush=True)
    archive = Client(USER_SOCKET).request("GET", f"/images/get{query(names=[image])}")
    load(archive.parts())
    return image


def load(archive: Iterable[bytes]) -> list[str]:
    """Load the images of *archive* into the system's store; the names, or ids, of them.

    Raises:
        OrlopError: it is none, or there is no room.
    """
    response = Client(SYSTEM_SOCKET).request(
        "POST",
        "/images/load?quiet=1",
        headers={"Content-Type": "application/x-tar"},
        stream=archive,
    )
    return [line for line in _said(response.read()) if line]


def import_console(name: str) -> str:
    """Let the user's engine have the root of the console as an image; its reference.

    It is made once for each version of the system.
    """
    version = text_of(get_object_at(SYSTEM_SOCKET, "/orlop/status"), "build_id") or "latest"
    reference = f"{CONSOLE}:{version}"
    if not has(USER_SOCKET, reference):
        files = Client(SYSTEM_SOCKET).request("GET", f"/containers/{name}/export")
        target = "/images/create" + query(fromSrc="-", repo=CONSOLE, tag=version)
        _said(Client(USER_SOCKET).request("POST", target, stream=files.parts()).read())
    return reference


def _said(answer: bytes) -> list[str]:
    """What images an answer in JSON lines names.

    Raises:
        Internal: it tells of an error, in its words.
    """
    from orlop.cli.json_text import decode

    names: list[str] = []
    for line in answer.splitlines():
        if not line.strip():
            continue
        value = decode(line)
        if not isinstance(value, dict):
            continue
        if "error" in value:
            raise Internal(text_of(value, "error"))
        text = text_of(value, "stream").strip()
        prefixes = ("Loaded image: ", "Loaded image ID: ")
        names += [text.removeprefix(prefix) for prefix in prefixes if text.startswith(prefix)]
    return names
