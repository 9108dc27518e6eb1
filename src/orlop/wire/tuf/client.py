"""The client's half of The Update Framework: which files to get, in which order, what to refuse.

`Client.refresh` is a generator that yields the files it wants and is sent their bytes, so that it
knows nothing of networks; `target` says what a target must be. Nothing is believed that a threshold
of keys has not signed, that is older than what was seen (rollback), past its time (freeze), or not
what the role above it says (mix and match).

Source: https://theupdateframework.github.io/specification/v1.0.34/, 5.
"""

from __future__ import annotations

from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import Forbidden, InvalidArgument, NotFound
from orlop.wire.tuf.metadata import (
    MAX_BYTES,
    FileInfo,
    Listing,
    Metadata,
    Root,
    check_expiry,
    check_signatures,
    parse_listing,
    parse_root,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from orlop.wire.tuf.metadata import Verify

MAX_ROTATIONS = 256
"""New roots in one go."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file below the repository, of at most *max_bytes*; *optional* ones may be missing."""

    path: str
    max_bytes: int
    optional: bool = False


class Client:
    """*files* is what is trusted, by role; it grows as `refresh` goes on, also when that fails
    later: who calls it keeps what is there. *now* is in seconds since 1970."""

    def __init__(self, files: Mapping[str, bytes], now: int, verify: Verify) -> None:
        """Raises: InvalidArgument, Forbidden: the root in *files* is none, or not its own."""
        self.files = dict(files)
        self._now = now
        self._verify = verify
        root = parse_root(files["root"])
        check_signatures(root, root.signed, verify)
        self.root: Root = root.signed
        self._listings: dict[str, Listing] = {}

    def refresh(self) -> Generator[Wanted, bytes | None]:
        """Bring all metadata up to date; is sent what it asks for, None for what is not there.

        Raises:
            Forbidden: something is not to be trusted. InvalidArgument: something is no metadata.
            NotFound: a file is missing.
        """
        yield from self._refresh_root()
        timestamp = yield from self._timestamp()
        snapshot = yield from self._below("snapshot", timestamp.files["snapshot"])
        yield from self._below("targets", snapshot.files["targets"])

    def target(self, name: str) -> tuple[FileInfo, str]:
        """Length and digest of a target after `refresh`, and the path of its file.

        Raises:
            NotFound: nobody has signed such a target.
        """
        info = self._listings["targets"].files.get(name)
        if info is None:
            raise NotFound(f"there is no {name} in the repository")
        path = f"targets/{name}"
        if self.root.consistent:
            folder, _, base = path.rpartition("/")
            path = f"{folder}/{info.sha256}.{base}"
        return info, path

    def _refresh_root(self) -> Generator[Wanted, bytes | None]:
        for _ in range(MAX_ROTATIONS):
            version = self.root.version + 1
            data = yield Wanted(f"metadata/{version}.root.json", MAX_BYTES["root"], optional=True)
            if data is None:
                break
            self._take_root(data, version)
        metadata = parse_root(self.files["root"])
        check_expiry(metadata, self._now)

    def _take_root(self, data: bytes, version: int) -> None:
        _limit(data, MAX_BYTES["root"], "root.json")
        new = parse_root(data)
        # By the threshold of the old one, and by its own.
        check_signatures(new, self.root, self._verify)
        check_signatures(new, new.signed, self._verify)
        if new.signed.version != version:
            raise Forbidden(
                f"{version}.root.json has version {new.signed.version}, {version} is expected"
            )
        for role in ("timestamp", "snapshot"):
            if _signers(new.signed, role) != _signers(self.root, role):
                # Whoever had the old keys may have counted versions up to the end.
                self.files.pop("timestamp", None)
                self.files.pop("snapshot", None)
        self.root = new.signed
        self.files["root"] = data

    def _timestamp(self) -> Generator[Wanted, bytes | None, Listing]:
        old = self._trusted("timestamp")
        data = yield Wanted("metadata/timestamp.json", MAX_BYTES["timestamp"])
        new = self._signed(_present(data, "timestamp.json"), "timestamp")
        if old is not None:
            _no_rollback("timestamp.json", new.signed.version, old.version)
            before, after = old.files["snapshot"], new.signed.files["snapshot"]
            _no_rollback("snapshot.json in timestamp.json", after.version, before.version)
            if new.signed.version == old.version and data != self.files["timestamp"]:
                # Versions that are equal say that nothing has changed: the old one counts.
                new = parse_listing(self.files["timestamp"], "timestamp")
                data = self.files["timestamp"]
        check_expiry(new, self._now)
        self._keep("timestamp", _present(data, "timestamp.json"), new.signed)
        return new.signed

    def _below(self, role: str, info: FileInfo) -> Generator[Wanted, bytes | None, Listing]:
        """Snapshot or targets, of which the role above says *info*."""
        old = self._trusted(role)
        data = self.files.get(role)
        if old is None or data is None or old.version != info.version or not _fits(data, info):
            prefix = f"{info.version}." if self.root.consistent else ""
            limit = min(MAX_BYTES[role], info.length or MAX_BYTES[role])
            data = yield Wanted(f"metadata/{prefix}{role}.json", limit)
        data = _present(data, f"{role}.json")
        if not _fits(data, info):
            raise Forbidden(
                f"{role}.json is not the one that is signed for: length or digest differs"
            )
        new = self._signed(data, role)
        if new.signed.version != info.version:
            raise Forbidden(
                f"{role}.json has version {new.signed.version}, {info.version} is signed for"
            )
        if old is not None:
            _no_rollback(f"{role}.json", new.signed.version, old.version)
            if role == "snapshot":
                for name, before in old.files.items():
                    after = new.signed.files.get(name)
                    if after is None:
                        raise Forbidden(f"snapshot.json lacks {name}.json, which it had")
                    _no_rollback(f"{name}.json in snapshot.json", after.version, before.version)
        check_expiry(new, self._now)
        self._keep(role, data, new.signed)
        return new.signed

    def _signed(self, data: bytes, role: str) -> Metadata[Listing]:
        _limit(data, MAX_BYTES[role], f"{role}.json")
        metadata = parse_listing(data, role)
        check_signatures(metadata, self.root, self._verify)
        return metadata

    def _trusted(self, role: str) -> Listing | None:
        """What was trusted before; nothing if the keys are others by now, or it is damaged."""
        data = self.files.get(role)
        if data is None:
            return None
        try:
            return self._signed(data, role).signed
        except (InvalidArgument, Forbidden):
            del self.files[role]
            return None

    def _keep(self, role: str, data: bytes, listing: Listing) -> None:
        self.files[role] = data
        self._listings[role] = listing


def _signers(root: Root, role: str) -> tuple[frozenset[bytes | None], int]:
    names = root.roles[role].key_ids
    return frozenset(root.keys.get(name) for name in names), root.roles[role].threshold


def _present(data: bytes | None, name: str) -> bytes:
    if data is None:
        raise NotFound(f"the repository lacks {name}")
    return data


def _limit(data: bytes, limit: int, name: str) -> None:
    if len(data) > limit:
        raise Forbidden(f"{name} has more than {limit} bytes")


def _fits(data: bytes, info: FileInfo) -> bool:
    if info.length is not None and len(data) != info.length:
        return False
    return not info.sha256 or str(sha256(data).hexdigest()) == info.sha256


def _no_rollback(what: str, new: int, old: int) -> None:
    if new < old:
        raise Forbidden(f"{what} has version {new}, this machine has seen {old}: rollback refused")
