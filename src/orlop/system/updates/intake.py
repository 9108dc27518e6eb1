"""Where what is staged comes from: a file that somebody gives."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from typing import TYPE_CHECKING

from orlop.lib.boot_files import BootImage, image_files
from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.system.config.configuration import as_map, ask
from orlop.system.updates.generations import Image, Release
from orlop.system.updates.stage import Candidate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from orlop.lib.children import Children

INCOMING = "incoming"
MAX_BYTES = 512 << 20
MAX_ARCHIVE_BYTES = 16 << 30
"""Of a release with its services."""
MARGIN_BYTES = 16 << 20
"""What stays free on the state partition, for all who write there."""
LOOK_TIMEOUT_S = 300.0
_in_use: set[str] = set()
"""Files that somebody is still at: another who gives one must not remove them."""


async def receive(
    directory: Path, parts: AsyncIterator[bytes], limit_bytes: int = MAX_BYTES
) -> Path:
    """Keep what comes in a file of its own.

    Raises:
        ResourceExhausted: it has more than *limit_bytes*, or the disk has not so much room.
    """
    incoming = directory / INCOMING
    path = incoming / f"given-{os.urandom(8).hex()}"

    def begin() -> int:
        incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in incoming.glob("given-*"):
            if old.name not in _in_use:
                old.unlink()  # a crash has left it
        _in_use.add(path.name)
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    descriptor, size = await asyncio.to_thread(begin), 0
    try:
        async for part in parts:
            size += len(part)
            if size > limit_bytes:
                raise ResourceExhausted(f"more than {limit_bytes >> 20} MiB are not taken")
            await asyncio.to_thread(_write_all, descriptor, part)
    except OSError as error:
        await asyncio.to_thread(discard, path)
        raise ResourceExhausted(f"cannot keep the file: {error.strerror}") from error
    except BaseException:
        await asyncio.to_thread(discard, path)
        raise
    finally:
        os.close(descriptor)
    return path


def discard(path: Path) -> None:
    """What `receive` has kept is not needed any more."""
    path.unlink(missing_ok=True)
    _in_use.discard(path.name)


def _write_all(descriptor: int, data: bytes) -> None:
    status = os.fstatvfs(descriptor)
    if status.f_bavail * status.f_frsize < len(data) + MARGIN_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    while data:
        data = data[os.write(descriptor, data) :]


async def unsigned(children: Children, path: Path) -> Candidate:
    """The image at *path*, of which nobody says where it comes from.

    Raises:
        InvalidArgument: it is no image of this system.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        answer = as_map(json.loads(await ask(children, ["image"], LOOK_TIMEOUT_S, {0: descriptor})))
    finally:
        os.close(descriptor)
    if "error" in answer:
        raise InvalidArgument(str(answer["error"]))
    size, version = int(str(answer["size_bytes"])), str(answer["version"])
    image = Image(str(answer["sha256"]), size, str(answer["build"]))
    beside = files_beside(
        image,
        version,
        _pair(answer["kernel"]),
        _pair(answer["initrd"]),
        str(answer["command_line"]),
    )
    return Candidate(Release(version), image, beside, {}, tainted=True)


def files_beside(
    image: Image, version: str, kernel: tuple[int, int], initrd: tuple[int, int], words: str
) -> dict[str, bytes]:
    """What the boot loader has to know of an image."""
    described = BootImage(image.sha256, version, kernel, initrd, words)
    return image_files(described, lambda data: str(sha256(data).hexdigest()))


def _pair(value: object) -> tuple[int, int]:
    match value:
        case [int(first), int(count)]:
            return first, count
        case _:
            raise InvalidArgument("the image has no place for kernel or initrd")
