"""The build cache: which image a step has led to before.

A key is a digest of all that a step's result depends on: the image before it, the instruction with
its variables replaced, and the content of the files it takes. What it leads to is an image of the
store, which keeps the layers; an entry whose image is gone is no entry. One small file each, in
DATA/build/cache; losing one costs time, nothing else, so none of them is synced.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine.images import sha256_hex
from orlop.lib import atomic_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

FORMAT = 1
MAX_ENTRIES = 10_000
"""Above it the ones unused for longest are dropped."""
MAX_FILE_BYTES = 64 << 10
_SUFFIX = ".json"


@dataclass(slots=True)
class CacheEntry:
    """*used_ns* is the last time it was of use."""

    key: str
    image_id: str
    parent_id: str
    text: str
    created_ns: int
    used_ns: int
    uses: int = 0


def cache_key(parent_id: str, parts: Json) -> str:
    """The key of the step that *parts* describe, after *parent_id*."""
    text = json.dumps([FORMAT, parent_id, parts], sort_keys=True, separators=(",", ":"))
    return sha256_hex(text.encode())


class BuildCache:
    """Entries by key, in memory and on disk; reading them is put off until the first build."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._entries: dict[str, CacheEntry] | None = None

    def entries(self) -> dict[str, CacheEntry]:
        """All of them; blocking the first time."""
        if self._entries is None:
            self._entries = {}
            for path in self._files():
                entry = _read(path)
                if entry is not None:
                    self._entries[entry.key] = entry
                else:
                    with contextlib.suppress(OSError):
                        path.unlink()
        return self._entries

    def _files(self) -> list[Path]:
        try:
            if self._directory.exists():
                atomic_file.remove_temporaries(self._directory)
            return sorted(self._directory.glob(f"*{_SUFFIX}"))
        except OSError:
            return []

    def find(self, key: str, is_there: Callable[[str], bool]) -> str | None:
        """The image of *key* if *is_there*."""
        entry = self.entries().get(key)
        if entry is None:
            return None
        if not is_there(entry.image_id):
            self.drop(key)
            return None
        entry.uses += 1
        entry.used_ns = time.time_ns()
        try:
            os.utime(self._path(key), ns=(entry.used_ns, entry.used_ns))
        except OSError as error:
            log.debug("cannot mark a build cache entry: %s", error)
        return entry.image_id

    def add(self, key: str, image_id: str, parent_id: str, text: str) -> None:
        """Remember that *key* leads to *image_id*; a full disk only costs the memory of it."""
        now_ns = time.time_ns()
        entry = CacheEntry(key, image_id, parent_id, text[:1000], now_ns, now_ns)
        entries = self.entries()
        entries[key] = entry
        data = {
            "format": FORMAT,
            "image": image_id,
            "parent": parent_id,
            "text": entry.text,
            "created_ns": now_ns,
        }
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            atomic_file.write_bytes(
                self._path(key), json.dumps(data).encode(), mode=0o600, durable=False
            )
        except OSError as error:
            log.warning("cannot store a build cache entry: %s, ignoring", error)
        if len(entries) > MAX_ENTRIES:
            oldest = sorted(entries.values(), key=lambda item: item.used_ns)
            for old in oldest[: MAX_ENTRIES // 10]:
                self.drop(old.key)

    def drop(self, key: str) -> None:
        """Forget an entry; never raises."""
        self.entries().pop(key, None)
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            log.warning("cannot delete a build cache entry: %s, ignoring", error)

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}{_SUFFIX}"


def _read(path: Path) -> CacheEntry | None:
    """None for what is damaged, as a file may be after a power cut."""
    try:
        with open(path, "rb") as stream:
            data = json.loads(stream.read(MAX_FILE_BYTES))
            used_ns = os.fstat(stream.fileno()).st_mtime_ns
        if data["format"] != FORMAT:
            return None
        image_id, parent_id, text = data["image"], data["parent"], data["text"]
        created_ns = data["created_ns"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not all(isinstance(item, str) for item in (image_id, parent_id, text)):
        return None
    key = path.name.removesuffix(_SUFFIX)
    return CacheEntry(key, image_id, parent_id, text, int(created_ns), used_ns)
