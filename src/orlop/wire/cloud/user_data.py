"""User data taken apart: what in it is configuration, services, a script, URLs, or nothing for us.

It may be compressed (gzip), one text that its first line tells the kind of, or a MIME message with
several. Sizes, numbers and depth are bounded; input is hostile, so this runs in workers only.

Source: cloud-init's document "User data formats"; RancherOS for `#compose`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.cloud.answer import MAX_INCLUDES, MAX_USER_DATA_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from email.message import Message

MAX_PARTS = 64
MAX_DEPTH = 3
NAME = "user-data"

_GZIP = b"\x1f\x8b"
_MIME_STARTS = (b"content-type:", b"mime-version:", b"from ", b"from:")


class Kind(StrEnum):
    """What a part is."""

    CONFIG = "config"
    SCRIPT = "script"
    INCLUDE = "include"
    COMPOSE = "compose"


class Frequency(StrEnum):
    """How often a script is to run: at each boot, once for an instance, or once ever."""

    BOOT = "boot"
    INSTANCE = "instance"
    ONCE = "once"


@dataclass(frozen=True, slots=True)
class Part:
    """One part. *name* is for errors and file names."""

    kind: Kind
    name: str
    content: bytes
    frequency: Frequency = Frequency.INSTANCE


_FIRST_LINES = (
    (b"#cloud-config-archive", "a cloud-config archive is not supported, use MIME"),
    (b"#cloud-config", Kind.CONFIG),
    (b"#!", Kind.SCRIPT),
    (b"#include", Kind.INCLUDE),
    (b"## template: jinja", "templates are not supported, write the values"),
    (b"#cloud-boothook", "boot hooks are not supported, use bootcmd"),
    (b"#part-handler", "part handlers are not supported"),
    (b"#upstart-job", "upstart jobs are not supported"),
    (b"#compose", Kind.COMPOSE),
)

_TYPES = {
    "text/cloud-config": Kind.CONFIG,
    "text/x-cloud-config": Kind.CONFIG,
    "text/x-shellscript": Kind.SCRIPT,
    "text/x-shellscript-per-boot": Kind.SCRIPT,
    "text/x-shellscript-per-instance": Kind.SCRIPT,
    "text/x-shellscript-per-once": Kind.SCRIPT,
    "text/x-include-url": Kind.INCLUDE,
    "text/x-include-once-url": Kind.INCLUDE,
}


class _Splitter:
    def __init__(self, included: Mapping[str, bytes]) -> None:
        self.included = included
        self.parts: list[Part] = []
        self.problems: list[str] = []

    def add(self, name: str, data: bytes, depth: int = 0) -> None:
        """Take *data* apart; a problem of one part leaves the others alone."""
        try:
            data = _plain(name, data)
            if depth > MAX_DEPTH:
                raise InvalidArgument(f"{name}: nested deeper than {MAX_DEPTH}")
            if data.lstrip()[:16].lower().startswith(_MIME_STARTS):
                self._add_message(name, data, depth)
            elif data.strip():
                self._add_kind(name, data, _kind(name, data), depth)
        except InvalidArgument as error:
            self.problems.append(str(error))
        except Exception as error:  # noqa: BLE001 - the library's parser of MIME raises anything
            self.problems.append(f"{name}: cannot be read: {type(error).__name__}")

    def _add_kind(
        self,
        name: str,
        data: bytes,
        kind: Kind,
        depth: int,
        frequency: Frequency = Frequency.INSTANCE,
    ) -> None:
        if kind is Kind.INCLUDE:
            self._include(name, data, depth)
        else:
            self._append(Part(kind, name, data, frequency))

    def _append(self, part: Part) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise InvalidArgument(f"{part.name}: more than {MAX_PARTS} parts")
        self.parts.append(part)

    def _include(self, name: str, data: bytes, depth: int) -> None:
        if depth:
            raise InvalidArgument(f"{name}: #include inside of what was included is not followed")
        for url in include_urls(name, data):
            content = self.included.get(url)
            if content is None:
                self._append(Part(Kind.INCLUDE, name, url.encode()))
            else:
                self.add(url, content, depth + 1)

    def _add_message(self, name: str, data: bytes, depth: int) -> None:
        from email import message_from_bytes  # only user data in MIME needs all of this

        message = message_from_bytes(data)
        for number, leaf in enumerate(_leaves(message), 1):
            title = f"{name} part {number}"
            if file_name := leaf.get_filename():
                title += f" ({file_name[:80]})"
            self._add_leaf(title, leaf, depth)

    def _add_leaf(self, title: str, leaf: Message, depth: int) -> None:
        content = leaf.get_payload(decode=True)
        if not isinstance(content, bytes):
            raise InvalidArgument(f"{title}: its content cannot be read")
        declared = leaf.get_content_type()
        kind = _TYPES.get(declared)
        if kind is None:
            # text/plain and the like: its first line tells, as when it stood alone.
            if declared in ("text/plain", "application/octet-stream", "text/x-not-multipart"):
                self.add(title, content, depth)
            elif declared == "application/gzip" or content.startswith(_GZIP):
                self.add(title, content, depth + 1)
            else:
                self.problems.append(f"{title}: the type {declared} is not supported")
            return
        try:
            frequency = _frequency(declared)
            self._add_kind(title, _plain(title, content), kind, depth, frequency)
        except InvalidArgument as error:
            self.problems.append(str(error))


def split(
    data: bytes, included: Mapping[str, bytes] | None = None, name: str = NAME
) -> tuple[list[Part], list[str]]:
    """The parts of user data, and what was wrong with others.

    *included* has the contents of URLs that `#include` names; one that it lacks stays a part of
    kind INCLUDE with the URL as its content.
    """
    splitter = _Splitter(included or {})
    if len(data) > MAX_USER_DATA_BYTES:
        return [], [f"{name}: longer than {MAX_USER_DATA_BYTES} bytes"]
    splitter.add(name, data)
    return splitter.parts, splitter.problems


def include_urls(name: str, data: bytes) -> list[str]:
    """The URLs in the lines of an `#include` text.

    Raises:
        InvalidArgument: a line is none, or they are too many.
    """
    found: list[str] = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        url = line.strip()
        for head in ("#include-once", "#include"):
            if url.startswith(head):
                url = url.removeprefix(head).strip()
        if not url or url.startswith("#"):
            continue
        if not url.startswith(("http://", "https://")) or not url.isprintable() or " " in url:
            raise InvalidArgument(f"{name}:{number}: not an http:// or https:// URL: {url[:200]!r}")
        found.append(url)
    if len(found) > MAX_INCLUDES:
        raise InvalidArgument(f"{name}: more than {MAX_INCLUDES} URLs to include")
    return found


def _plain(name: str, data: bytes) -> bytes:
    """*data* decompressed if it is compressed, up to the limit."""
    if not data.startswith(_GZIP):
        return data
    unpacker = zlib.decompressobj(31)
    try:
        plain = unpacker.decompress(data, MAX_USER_DATA_BYTES)
    except zlib.error as error:
        raise InvalidArgument(f"{name}: damaged gzip data: {error}") from error
    if not unpacker.eof:
        if unpacker.unconsumed_tail:
            raise InvalidArgument(f"{name}: longer than {MAX_USER_DATA_BYTES} bytes when unpacked")
        raise InvalidArgument(f"{name}: damaged gzip data: it ends too early")
    if plain.startswith(_GZIP):
        raise InvalidArgument(f"{name}: compressed twice")
    return plain


def _kind(name: str, data: bytes) -> Kind:
    """By the first line. One that says nothing is taken for configuration, whose errors tell."""
    first = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    for start, kind in _FIRST_LINES:
        if first.startswith(start):
            if isinstance(kind, Kind):
                return kind
            raise InvalidArgument(f"{name}:1: {kind}")
    return Kind.CONFIG


def _frequency(declared: str) -> Frequency:
    ending = declared.rpartition("-per-")[2]
    return Frequency(ending) if ending in Frequency else Frequency.INSTANCE


def _leaves(message: Message, depth: int = 0) -> Iterator[Message]:
    if not message.is_multipart():
        yield message
        return
    if depth >= MAX_DEPTH:
        raise InvalidArgument(f"{NAME}: MIME parts are nested deeper than {MAX_DEPTH}")
    for part in message.get_payload():
        if not isinstance(part, str):
            yield from _leaves(part, depth + 1)
