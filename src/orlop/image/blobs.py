"""A folder of file contents, each stored once under its SHA-256.

The builder never lays a root out as a tree on disk: packages come apart into blobs and a list of
entries, roots are put together as lists that refer to blobs. So no file mode, owner or link of a
package ever touches the host, no privilege is needed, and equal files are equal by name.
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import NewType

Digest = NewType("Digest", str)


class BlobStore:
    """Blobs below *folder*, as ``ab/cdef…``. Several stores may be chained with `BlobSet`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, data: bytes) -> Digest:
        """Store *data* and return its digest; storing the same bytes again is free."""
        digest = Digest(hashlib.sha256(data).hexdigest())
        path = self._path(digest)
        if path.exists():
            return digest
        path.parent.mkdir(parents=True, exist_ok=True)
        # Two steps may store the same bytes at once: the rename makes either one whole.
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
        return digest

    def find(self, digest: Digest) -> Path | None:
        path = self._path(digest)
        return path if path.exists() else None

    def _path(self, digest: Digest) -> Path:
        return self._folder / digest[:2] / digest[2:]


class BlobSet:
    """Reads from several stores as if they were one."""

    def __init__(self, *stores: BlobStore) -> None:
        self._stores = stores

    def path(self, digest: Digest) -> Path:
        """Raises KeyError: no store has *digest* (a step's inputs are incomplete: a bug)."""
        for store in self._stores:
            if path := store.find(digest):
                return path
        raise KeyError(digest)

    def read(self, digest: Digest) -> bytes:
        return self.path(digest).read_bytes()
