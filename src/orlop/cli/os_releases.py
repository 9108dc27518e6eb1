"""The verbs of `orlop os` about releases: `check`, `stage`, `trust`."""

from __future__ import annotations

import os
from urllib.parse import urlencode

from orlop.cli.answers import Object
from orlop.cli.os_answers import blocks, follow, open_to_send
from orlop.lib.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.cli.arguments import Arguments
    from orlop.cli.client import Client

MAX_ROOT_BYTES = 256 << 10
REMOTE = ("https://", "http://", "oci://")


def check(client: Client, arguments: Arguments, source: str = "") -> int:
    """Whether there is a release for this machine."""
    check_source(source)
    response = client.request("POST", "/orlop/os/check", _wish(arguments, source))
    text = (
        "release {version} (sequence {sequence}), {download_bytes:,} bytes to fetch: orlop os stage"
    )
    return follow(response, arguments, text)


def check_source(source: str) -> None:
    """Raises: InvalidArgument: releases cannot come from there; empty is the configured one."""
    if source and not source.startswith((*REMOTE, "/")):
        raise InvalidArgument(
            f"{source}: no source of releases",
            hint="https://HOST/PATH, oci://HOST/NAME:TAG, or a path of the machine",
        )


def stage(client: Client, arguments: Arguments, source: str = "") -> int:
    """Have a release put beside what runs: from where releases come from, or from one archive."""
    done = "generation {generation} is staged: release {version}; orlop os apply"
    of_machine = source.startswith("/") and not os.path.isfile(source)
    if not source or source.startswith(REMOTE) or of_machine:
        response = client.request("POST", "/orlop/os/stage", _wish(arguments, source))
        return follow(response, arguments, done)
    descriptor = open_to_send(source)
    wish = {key: value for key, value in _wish(arguments, "").items() if value}
    query = urlencode({"archive": 1, **wish})
    response = client.request("POST", f"/orlop/os/stage?{query}", stream=blocks(descriptor))
    return follow(response, arguments, done)


def trust(client: Client, arguments: Arguments, name: str) -> int:
    """Let the root in the file *name* say whose releases are taken."""
    try:
        with open(0 if name == "-" else name, "rb") as stream:
            text = stream.read(MAX_ROOT_BYTES).decode()
    except OSError as error:
        raise NotFound(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidArgument(f"{name} is no root of trust: root.json is expected") from None
    response = client.request("POST", "/orlop/os/trust", {"root": text})
    done = "root {version} is trusted: {threshold} of its keys say who signs releases"
    return follow(response, arguments, done)


def _wish(arguments: Arguments, source: str) -> Object:
    return {
        "source": source,
        "channel": arguments.value("channel"),
        "version": arguments.value("release"),
        "allow_downgrade": arguments.flag("allow-downgrade"),
    }


WITH_WORD: dict[str, Callable[[Client, Arguments, str], int]] = {
    "check": check,
    "stage": stage,
    "trust": trust,
}
"""The verbs that take a source or a file."""
