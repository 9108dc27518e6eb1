"""From the machine's configuration to what a look for releases needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument, Unavailable
from orlop.system.machine_id import machine_id
from orlop.system.updates import fetch
from orlop.system.updates.generations import Release
from orlop.wire.channel import BUCKETS
from orlop.wire.tuf.metadata import MAX_BYTES, parse_root

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.system.updates.fetch import Running, Settings
    from orlop.wire.compose_model import Json

KEY = "orlop.update"
IDENTITY = "identity"
"""In `trust/`: the machine's name where its firmware has none, made once."""


async def settings(
    boot: Boot,
    running: Running,
    *,
    source: str = "",
    channel: str = "",
    version: str = "",
    allow_downgrade: bool = False,
    staged: Release = Release(),  # noqa: B008 - frozen
    directory: Path = fetch.DIRECTORY,
) -> Settings:
    """What `fetch.check` needs; *source* and *channel* are the configuration's unless given,
    *staged* is the release that is, if one is.

    Raises:
        InvalidArgument: nobody has said where releases come from.
        Unavailable: the root of trust that is configured cannot be read.
    """
    current = boot.config.current
    source = source or str(current.get(f"{KEY}.source") or "")
    if not source:
        raise InvalidArgument(
            "there is no source of releases", hint=f"orlop config set {KEY}.source https://..."
        )
    wariness = current.get(f"{KEY}.wariness")
    root = str(current.get(f"{KEY}.root") or "")
    return fetch.Settings(
        source=source,
        running=running,
        identity=await asyncio.to_thread(identity, directory),
        channel=channel or str(current.get(f"{KEY}.channel") or "stable"),
        root=await asyncio.to_thread(_read_root, root) if root.startswith("/") else root,
        version=version,
        wariness=place(wariness) if isinstance(wariness, int | float) else None,
        allow_downgrade=allow_downgrade,
        staged=staged.version if staged.digest else "",
        staged_digest=staged.digest,
        registries=boot.images.registries(),
        directory=directory,
    )


def place(percent: float) -> int:
    """Where in a ramp a machine with this wariness stands: 0 to 9,999."""
    return min(round(percent * BUCKETS / 100), BUCKETS - 1)


def identity(directory: Path) -> str:
    """Who this machine is in ramps: what the firmware calls it, or else a number of its own.

    Raises:
        Unavailable: it cannot be kept.
    """
    known = machine_id()
    if known:
        return known
    path = directory / "trust" / IDENTITY
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from error
    with open("/proc/sys/kernel/random/uuid") as stream:
        made = stream.read().strip()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.write_text(path, made, mode=0o600)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}") from error
    return made


def _read_root(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_BYTES["root"] + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{KEY}.root: {path} cannot be read: {error}") from error


async def trust(directory: Path, data: bytes) -> dict[str, Json]:
    """Let *data* be the root whose releases this machine takes; who signs with which keys.

    Raises:
        InvalidArgument: it is no root. Unavailable: it cannot be kept.
    """
    metadata = parse_root(data)
    root = metadata.signed
    folder = directory / "trust"

    def keep() -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.write_bytes(folder / fetch.GIVEN_ROOT, data, mode=0o600)

    try:
        await asyncio.to_thread(keep)
    except OSError as error:
        raise Unavailable(f"{folder}: {error.strerror}") from error
    return {
        "version": root.version,
        "threshold": root.roles["root"].threshold,
        "keys": [*sorted(root.roles["root"].key_ids)],
    }
