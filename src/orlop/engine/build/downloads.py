"""What ADD fetches before it copies, and contexts that are not sent but named."""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from orlop.engine.build.workspace import free_bytes
from orlop.engine.worker_process import start_worker
from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile.arguments import PROXIES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
    from pathlib import Path

    from orlop.engine.build.builder import Build
    from orlop.engine.engine import Engine
    from orlop.wire.dockerfile.model import Copy

FETCH_TIMEOUT_S = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A download: *name* as its address ends, and when it was last changed, if that is known."""

    name: str
    descriptor: int
    modified_s: int
    content_type: str
    digest: str


def is_url(source: str) -> bool:
    """Whether a source is fetched from somewhere."""
    return source.lower().startswith(("http://", "https://"))


def is_git(source: str) -> bool:
    """Whether a remote context is a repository, as Docker's clients and dockerd see it."""
    text = source.lower()
    path = text.partition("#")[0].partition("?")[0]
    return text.startswith(("git://", "git@", "ssh://", "github.com/")) or (
        is_url(text) and path.endswith(".git")
    )


@contextlib.asynccontextmanager
async def fetch_all(
    build: Build, urls: Sequence[str], instruction: Copy
) -> AsyncIterator[list[Fetched]]:
    """Fetch *urls*; the files are gone at the end of the block.

    Raises:
        InvalidArgument: one cannot be had, has no name, or is not what it should be.
    """
    async with contextlib.AsyncExitStack() as stack:
        found: list[Fetched] = []
        for url in urls:
            name = file_name(url)
            if not name and instruction.destination.endswith("/"):
                raise InvalidArgument(f"cannot determine filename from url: {url}")
            proxies = {k: v for k, v in build.arguments.values().items() if k in PROXIES}
            item = await stack.enter_async_context(
                fetched(build.engine, url, build.directory, proxies)
            )
            if instruction.checksum and item.digest != instruction.checksum:
                raise InvalidArgument(f"digest mismatch {item.digest}: {instruction.checksum}")
            found.append(item)
        yield found


def file_name(url: str) -> str:
    """How a download is called: the last part of the path of its address."""
    name = posixpath.basename(unquote(urlsplit(url).path))
    return "" if name in (".", "..") or "\0" in name else name


def _proxies(engine: Engine, given: Mapping[str, str]) -> dict[str, str]:
    """Those of the build's arguments, each or else the engine's own."""
    own = engine.settings.registries.proxies
    lower = {name.lower(): text for name, text in given.items()}
    return {
        "http": lower.get("http_proxy", own.http),
        "https": lower.get("https_proxy", own.https),
        "no": lower.get("no_proxy", ",".join(own.none)),
    }


@contextlib.contextmanager
def _memory(data: bytes) -> Iterator[int]:
    """A descriptor to read *data* from."""
    descriptor = os.memfd_create("job", os.MFD_CLOEXEC)
    try:
        os.pwrite(descriptor, data, 0)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def fetched(
    engine: Engine, url: str, directory: Path, proxies: Mapping[str, str]
) -> AsyncIterator[Fetched]:
    """Fetch *url* into a file without a name in *directory*.

    Raises:
        InvalidArgument: it cannot be had. ResourceExhausted: it does not fit.
    """
    descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        job: dict[str, Any] = {
            "url": url,
            "authorities": engine.settings.registries.authorities,
            "max_bytes": free_bytes(directory),
            "proxies": _proxies(engine, proxies),
        }
        with _memory(json.dumps(job).encode()) as told:
            async with start_worker(
                engine.children,
                "build",
                "fetch",
                fds={0: told, 4: descriptor},
                timeout_s=FETCH_TIMEOUT_S,
            ) as worker:
                answer = await worker.result()
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield Fetched(
            file_name(url),
            descriptor,
            int(answer["modified"]),
            str(answer["type"]),
            str(answer["sha256"]),
        )
    finally:
        os.close(descriptor)
