"""A catalogue of services, consoles and engines: an index, and the files that it names.

`index.json` is at a URL or in a directory, which `orlop.catalogue` names; `wire.catalogue_index`
says what is in it. Paths are relative to the index; an archive is one of OCI, the digest that of
the image's manifest.
"""

from __future__ import annotations

import asyncio
import os

# Not hashlib: that loads OpenSSL's library, six megabytes that PID 1 has no other use for.
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin

from orlop.lib.errors import InvalidArgument, NotFound, OrlopError
from orlop.system.config import configuration
from orlop.system.config.configuration import as_map

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.system.boot import Boot
    from orlop.system.services.images import Fetched
    from orlop.wire.compose_model import Json

INDEX = "index.json"
MAX_INDEX_BYTES = 1 << 20
TO_HAVE_ONE = "orlop config set orlop.catalogue URL"


@dataclass(frozen=True, slots=True)
class Entry:
    """*text* is the definition; *archives* reference to place and digest."""

    text: str
    origin: str
    archives: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class Fetcher(Protocol):
    """What a catalogue needs of `services.images`."""

    async def file(self, url: str, digest: str = "") -> Fetched: ...
    async def archive(self, url: str, image: str, digest: str) -> None: ...
    async def load(self, archive: Path, image: str, digest: str) -> None: ...


class Catalogue:
    """For the machine of *boot*; asked anew each time, as it may have changed."""

    def __init__(self, boot: Boot, images: Fetcher) -> None:
        self._boot = boot
        self._images = images

    @property
    def place(self) -> str:
        """The URL or directory of the index; empty for none."""
        found = self._boot.config.current.get("orlop.catalogue")
        return found if isinstance(found, str) else ""

    async def index(self, place: str = "") -> Mapping[str, Json]:
        """What there is at *place*, else where the configuration says: `wire.catalogue_index`.

        Raises:
            NotFound: there is no catalogue. OrlopError: it cannot be read.
        """
        return await self._ask(place or self.place, {})

    async def find(self, section: str, name: str, place: str = "") -> Entry:
        """The entry *name*.

        Raises:
            NotFound: there is none. OrlopError: its definition cannot be had, or is another one.
        """
        place = place or self.place
        if not place:
            what = f"there is no {section.removesuffix('s')} {name}, and no catalogue to look in"
            raise NotFound(what, hint=TO_HAVE_ONE)
        entry = await self._ask(place, {"section": section, "entry": name})
        where = _join(place, str(entry.get("definition")))
        text = await self._read(where)
        found = sha256(text.encode()).hexdigest()
        if found != entry.get("sha256"):
            raise InvalidArgument(f"{where}: not what the index says it is: its digest is {found}")
        archives = {
            reference: (_join(place, str(row.get("archive"))), str(row.get("digest")))
            for reference, value in as_map(entry.get("images")).items()
            if (row := as_map(value))
        }
        return Entry(text, f"{where}@sha256:{found}", archives)

    async def _ask(self, place: str, request: Mapping[str, Json]) -> Mapping[str, Json]:
        """Let a worker without privileges read the index."""
        if not place:
            raise NotFound("there is no catalogue", hint=TO_HAVE_ONE)
        text = await self._read(_join(place, INDEX))
        question = {**request, "index": text, "place": place}
        return await configuration.ask_services(self._boot.children, question)

    async def load(self, archive: str, image: str, digest: str) -> None:
        """Take *image* from one of the archives that `find` names.

        Raises:
            OrlopError: it cannot be had, or has another digest.
        """
        if _is_url(archive):
            await self._images.archive(archive, image, digest)
            return
        try:
            await self._images.load(Path(archive), image, digest)
        except OSError as error:
            raise NotFound(f"{archive}: {error.strerror}") from error

    async def _read(self, where: str) -> str:
        if _is_url(where):
            return (await self._images.file(where)).text
        try:
            data = await asyncio.to_thread(_read_file, where)
            return data.decode()
        except OSError as error:
            raise NotFound(f"{where}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"{where}: not a text in UTF-8") from error


def _read_file(path: str) -> bytes:
    with open(path, "rb") as stream:
        data = stream.read(MAX_INDEX_BYTES + 1)
    if len(data) > MAX_INDEX_BYTES:
        raise OrlopError(f"{path}: longer than {MAX_INDEX_BYTES} bytes")
    return data


def _is_url(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _join(place: str, name: str) -> str:
    """*name* below *place*, and nowhere else.

    Raises:
        InvalidArgument: it would lead out.
    """
    if name.startswith("/") or ".." in name.split("/") or ":" in name:
        raise InvalidArgument(f"{place}: {name!r} is no path below it")
    if _is_url(place):
        return urljoin(f"{place.rstrip('/')}/", name)
    return os.path.join(place, name)
