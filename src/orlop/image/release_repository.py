"""A repository of releases: a directory of files that any web server can serve.

    metadata/N.root.json, N.targets.json, N.snapshot.json, timestamp.json
    targets/releases/SHA256.VERSION.json, channels/SHA256.NAME.json, blobs/SHA256.SHA256

New files come first and `timestamp.json` last: a client, or a copy made meanwhile, sees the old
state or the new one. Nothing that was published is changed.
Source: The Update Framework, specification 1.0, with consistent snapshots.
"""

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path

from orlop.image.release_keys import Keys
from orlop.lib import atomic_file, signatures
from orlop.lib.errors import Conflict, Forbidden, InvalidArgument, NotFound
from orlop.wire.json_fields import MAX_ITEMS, format_moment
from orlop.wire.release import Blob, blob_name
from orlop.wire.tuf.metadata import (
    MAX_BYTES,
    ROLES,
    FileInfo,
    Root,
    canonical,
    check_signatures,
    key_id,
    key_json,
    parse_listing,
    parse_root,
)

SPEC_VERSION = "1.0.34"
DAY_S = 86400
LIFETIME_DAYS: Mapping[str, int] = {
    "root": 3 * 365,
    "targets": 365,
    "snapshot": 90,
    "timestamp": 30,
}
"""How long metadata is valid unless told otherwise."""


@dataclass(slots=True)
class Repository:
    """The one in *directory*; *targets* are those of the last state and what is to come.
    *timestamp* is the file of that name, the only one that others replace."""

    directory: Path
    root: Root
    versions: dict[str, int]
    targets: dict[str, FileInfo] = field(default_factory=dict)
    timestamp: bytes = b""

    @property
    def metadata(self) -> Path:
        return self.directory / "metadata"

    def add(self, name: str, data: bytes) -> str:
        """Add the target *name*; its digest. It is published with `publish`."""
        digest = sha256(data).hexdigest()
        path = self.file_of(name, digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_file.write_bytes(path, data)
        self.targets[name] = FileInfo(0, len(data), digest)
        return digest

    def blob(self, source: Path) -> Blob:
        """The file *source* as a blob; it is not added.

        Raises:
            NotFound: it is not there.
        """
        try:
            with source.open("rb") as stream:
                digest = file_digest(stream, "sha256").hexdigest()
                return Blob(digest, os.fstat(stream.fileno()).st_size)
        except FileNotFoundError as error:
            raise NotFound(f"{source} is not there") from error

    def add_blob(self, source: Path) -> Blob:
        """Add the file *source* as a blob."""
        blob = self.blob(source)
        digest = blob.sha256
        name = blob_name(digest)
        path = self.file_of(name, digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as reading, atomic_file.replacing(path) as stream:
                shutil.copyfileobj(reading, stream)
        self.targets[name] = FileInfo(0, blob.size_bytes, digest)
        return blob

    def read(self, name: str) -> bytes:
        """The content of the target *name*.

        Raises:
            NotFound: there is none.
        """
        if name not in self.targets:
            raise NotFound(f"{self.directory} has no {name}")
        return self.file_of(name, self.targets[name].sha256).read_bytes()

    def names(self, folder: str) -> list[str]:
        """The targets below *folder*, without it and `.json`."""
        prefix = f"{folder}/"
        return sorted(
            name.removeprefix(prefix).removesuffix(".json")
            for name in self.targets
            if name.startswith(prefix)
        )

    def path_of(self, name: str) -> Path:
        """The file of the target *name*."""
        return self.file_of(name, self.targets[name].sha256)

    def file_of(self, name: str, digest: str) -> Path:
        """Where the target *name* with *digest* lies."""
        folder, _, base = name.rpartition("/")
        return self.directory / "targets" / folder / f"{digest}.{base}"


@contextlib.contextmanager
def alone(directory: Path, *, make: bool = False) -> Iterator[None]:
    """Nobody else who asks for that changes the repository in *directory* in the block: two would
    write the same version with another content. Who comes second waits. With *make* the directory
    is made.

    Raises:
        NotFound: there is no such directory. OSError: with its name, where it can be.
    """
    if make:
        directory.mkdir(parents=True, exist_ok=True)
    elif not directory.is_dir():
        raise NotFound(f"{directory} is no repository of releases")
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    except OSError as error:
        if error.filename is None:  # a full disk does not say of what
            error.filename = str(directory)
        raise
    finally:
        os.close(descriptor)


def create(directory: Path, root: bytes) -> Repository:
    """A repository whose first root is *root*, signed by itself.

    Raises:
        Conflict: there is one. InvalidArgument, Forbidden: no such root.
    """
    metadata = parse_root(root)
    check_signatures(metadata, metadata.signed, signatures.verify)
    folder = directory / "metadata"
    if (folder / "timestamp.json").exists():
        raise Conflict(f"{directory} is a repository already")
    folder.mkdir(parents=True, exist_ok=True)
    atomic_file.write_bytes(folder / f"{metadata.signed.version}.root.json", root)
    return Repository(directory, metadata.signed, dict.fromkeys(("timestamp", "snapshot"), 0))


def open_repository(directory: Path) -> Repository:
    """The repository in *directory*, as it was published last.

    Raises:
        NotFound: there is none. InvalidArgument: it is damaged.
    """
    folder = directory / "metadata"
    roots = sorted(
        int(path.name.partition(".")[0])
        for path in folder.glob("*.root.json")
        if path.name.partition(".")[0].isdigit()
    )
    if not roots:
        raise NotFound(f"{directory} is no repository of releases")
    root = parse_root((folder / f"{roots[-1]}.root.json").read_bytes()).signed
    if not (folder / "timestamp.json").exists():
        if any(not path.name.startswith("1.") for path in folder.glob("*.snapshot.json")):
            raise InvalidArgument(
                f"{folder / 'timestamp.json'} is missing, which has been published",
                hint="copy it from where machines get it: begun anew they would take nothing more",
            )
        return Repository(directory, root, dict.fromkeys(("timestamp", "snapshot", "targets"), 0))
    newest = (folder / "timestamp.json").read_bytes()
    timestamp = parse_listing(newest, "timestamp").signed
    number = timestamp.files["snapshot"].version
    snapshot = parse_listing((folder / f"{number}.snapshot.json").read_bytes(), "snapshot").signed
    number = snapshot.files["targets"].version
    targets = parse_listing((folder / f"{number}.targets.json").read_bytes(), "targets").signed
    versions = {
        "timestamp": timestamp.version,
        "snapshot": snapshot.version,
        "targets": targets.version,
    }
    return Repository(directory, root, versions, dict(targets.files), newest)


def ending(repository: Repository, now: float | None = None) -> dict[str, int]:
    """The metadata of *repository* of whose time less than a quarter is left, in seconds since
    1970: after that no machine takes anything from it."""
    moment = time.time() if now is None else now
    found: dict[str, int] = {"root": repository.root.expires}
    for role in ("targets", "snapshot", "timestamp"):
        number = repository.versions.get(role, 0)
        prefix = "" if role == "timestamp" else f"{number}."
        if number:
            data = (repository.metadata / f"{prefix}{role}.json").read_bytes()
            found[role] = parse_listing(data, role).signed.expires
    return {
        role: expires
        for role, expires in found.items()
        if expires - moment < LIFETIME_DAYS[role] * DAY_S / 4
    }


def check_keys(
    repository: Repository,
    keys: Keys,
    only: Sequence[str] = ("targets", "snapshot", "timestamp"),
) -> None:
    """Before anything is written that nobody could sign.

    Raises:
        NotFound, Forbidden: as `publish`.
    """
    for role in only:
        who = repository.root.roles[role]
        if len({*map(key_id, keys.public(role))} & {*who.key_ids}) < who.threshold:
            raise Forbidden(
                f"no key of {keys.place} is one that signs {role}.json: that says root "
                f"{repository.root.version}, the newest in {repository.metadata}"
            )


def publish(
    repository: Repository,
    keys: Keys,
    *,
    days: int = 0,
    only: Sequence[str] = ("targets", "snapshot", "timestamp"),
    root: bytes = b"",
    now: float | None = None,
) -> None:
    """Sign and write the next version of *only*; *days* is how long they are valid, 0 for each role
    its own time. Without targets what is to come stays where it is. *root* is a new one, which the
    repository has already.

    Raises:
        NotFound: a key is missing. Forbidden: the keys are not those that the root names.
    """
    check_keys(repository, keys, only)
    moment = time.time() if now is None else now
    files: dict[str, bytes] = {}
    for role in ("targets", "snapshot", "timestamp"):
        if role not in only:
            continue
        version = repository.versions.get(role, 0) + 1
        expires = int(moment) + (days or LIFETIME_DAYS[role]) * DAY_S
        body = {**_head(role, version, expires), **_content(role, repository, files)}
        files[role] = sign(body, keys.of(role))
        if len(files[role]) > MAX_BYTES[role] or len(repository.targets) > MAX_ITEMS:
            raise InvalidArgument(
                f"{role}.json would have more than {MAX_BYTES[role]:,} bytes, or more than "
                f"{MAX_ITEMS:,} files in it: no machine takes that",
                hint="./orlop release prune",
            )
        check_signatures(parse_listing(files[role], role), repository.root, signatures.verify)
        repository.versions[role] = version
    for role, data in files.items():
        if role == "timestamp" and root:  # what it makes of no use is replaced right after it
            atomic_file.write_bytes(
                repository.metadata / f"{repository.root.version}.root.json", root
            )
        prefix = "" if role == "timestamp" else f"{repository.versions[role]}."
        atomic_file.write_bytes(repository.metadata / f"{prefix}{role}.json", data)
    repository.timestamp = files.get("timestamp", repository.timestamp)


def _content(role: str, repository: Repository, files: Mapping[str, bytes]) -> dict[str, object]:
    match role:
        case "targets":
            return {
                "targets": {
                    name: {"length": info.length, "hashes": {"sha256": info.sha256}}
                    for name, info in repository.targets.items()
                }
            }
        case "snapshot":
            return {"meta": {"targets.json": _meta("targets", repository, files)}}
        case _:
            return {"meta": {"snapshot.json": _meta("snapshot", repository, files)}}


def _meta(role: str, repository: Repository, files: Mapping[str, bytes]) -> dict[str, object]:
    version = repository.versions[role]
    data = files.get(role) or (repository.metadata / f"{version}.{role}.json").read_bytes()
    return {
        "version": version,
        "length": len(data),
        "hashes": {"sha256": sha256(data).hexdigest()},
    }


def make_root(
    version: int,
    keys: Mapping[str, Sequence[bytes]],
    threshold: int,
    signers: Sequence[bytes],
    *,
    days: int = 0,
    now: float | None = None,
) -> bytes:
    """A root: *keys* are the public keys by role, *threshold* that of root, *signers* private keys.

    Raises:
        InvalidArgument: the threshold cannot be reached.
    """
    if not 1 <= threshold <= len(keys["root"]):
        raise InvalidArgument(f"{threshold} of {len(keys['root'])} root keys cannot be")
    moment = int(time.time() if now is None else now)
    body: dict[str, object] = {
        **_head("root", version, moment + (days or LIFETIME_DAYS["root"]) * DAY_S),
        "consistent_snapshot": True,
        "keys": {key_id(key): key_json(key) for role in ROLES for key in keys[role]},
        "roles": {
            role: {
                "keyids": sorted({key_id(key) for key in keys[role]}),
                "threshold": threshold if role == "root" else 1,
            }
            for role in ROLES
        },
    }
    return sign(body, signers)


def rotate(repository: Repository, root: bytes, keys: Keys) -> int:
    """Publish *root* as the next one, with all else signed by *keys*, as machines take nothing that
    the old ones have signed any more; its version.

    Raises:
        Forbidden: too few of the old root's keys, or of its own, have signed it, its version is not
            the next, or *keys* are not those that it names. Nothing is published then.
    """
    metadata = parse_root(root)
    check_signatures(metadata, repository.root, signatures.verify)
    check_signatures(metadata, metadata.signed, signatures.verify)
    version = metadata.signed.version
    if version != repository.root.version + 1:
        raise Forbidden(f"the next root has version {repository.root.version + 1}, not {version}")
    repository.root = metadata.signed
    publish(repository, keys, root=root)
    return version


def _head(role: str, version: int, expires: int) -> dict[str, object]:
    return {
        "_type": role,
        "spec_version": SPEC_VERSION,
        "version": version,
        "expires": format_moment(expires),
    }


def sign(body: Mapping[str, object], keys: Sequence[bytes]) -> bytes:
    """*body* as a file of metadata, signed by each of *keys*."""
    payload = canonical(dict(body))
    found = {key_id(signatures.public_of(key)): signatures.sign(key, payload) for key in keys}
    document = {
        "signatures": [{"keyid": name, "sig": found[name].hex()} for name in sorted(found)],
        "signed": body,
    }
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
