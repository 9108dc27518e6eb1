"""Metadata of The Update Framework: what is signed about a repository of releases.

The four top-level roles of the specification, version 1.0; delegations are not used: what a
delegated role signs is not there. Keys are Ed25519; keys of other kinds count for nothing. A parser
takes bytes of which nothing is known. Pure.

Source: https://theupdateframework.github.io/specification/v1.0.34/, 4.
"""

from __future__ import annotations

import re
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import Forbidden, InvalidArgument
from orlop.wire.json_fields import SHA256, Fields, format_moment, parse_object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    type Verify = Callable[[bytes, bytes, bytes], bool]
    """Whether a public key (32 bytes) has made a signature (64 bytes) of data: Ed25519."""

ROLES = ("root", "timestamp", "snapshot", "targets")
MAX_BYTES = {"root": 256 << 10, "timestamp": 16 << 10, "snapshot": 64 << 10, "targets": 2 << 20}
MAX_SIGNATURES = 64
MAX_NESTING = 32
KEY_TYPE = "ed25519"

_SPEC_VERSION = re.compile(r"1\.\d+(\.\d+)?")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_PUBLIC = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Role:
    """Who signs, by ids of keys, and how many of them at least."""

    key_ids: frozenset[str]
    threshold: int


@dataclass(frozen=True, slots=True)
class Signed:
    """What all metadata has; *expires* in seconds since 1970."""

    version: int
    expires: int


@dataclass(frozen=True, slots=True)
class Root(Signed):
    """*keys*: id to public key."""

    keys: Mapping[str, bytes]
    roles: Mapping[str, Role]
    consistent: bool


@dataclass(frozen=True, slots=True)
class FileInfo:
    """What is said of a file; of metadata only *version* must be."""

    version: int = 0
    length: int | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Listing(Signed):
    """Timestamp, snapshot and targets: *files* by name, without `.json` those of metadata."""

    files: Mapping[str, FileInfo]


@dataclass(frozen=True, slots=True)
class Metadata[S: Signed]:
    """A file of metadata: *payload* is what *signatures* (id of a key, signature) are for."""

    role: str
    signed: S
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]


def canonical(value: object) -> bytes:
    """*value* in the form that is signed: OLPC's canonical JSON.

    Raises:
        InvalidArgument: there is no such form: fractions, or nested too deeply.
    """
    return _canonical(value, 0).encode("utf-8", "surrogatepass")


def _canonical(value: object, depth: int) -> str:
    if depth > MAX_NESTING:
        raise InvalidArgument("nested too deeply")
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
        case list():
            return f"[{','.join(_canonical(item, depth + 1) for item in value)}]"
        case dict():
            pairs = (
                f"{_canonical(key, depth)}:{_canonical(value[key], depth + 1)}"
                for key in sorted(value)
            )
            return f"{{{','.join(pairs)}}}"
    raise InvalidArgument(f"{type(value).__name__} has no canonical form")


def key_id(public: bytes) -> str:
    """The id of an Ed25519 key."""
    return _digest(key_json(public))


def key_json(public: bytes) -> dict[str, object]:
    """An Ed25519 key as metadata has it."""
    return {"keytype": KEY_TYPE, "scheme": KEY_TYPE, "keyval": {"public": public.hex()}}


def _digest(value: object) -> str:
    return str(sha256(canonical(value)).hexdigest())


def parse_root(data: bytes) -> Metadata[Root]:
    """Raises: InvalidArgument: not metadata of root."""
    signed, rest = _open(data, "root")
    keys: dict[str, bytes] = {}
    for name, entry in signed.sections("keys").items():
        found = _key(name, entry)
        if found is not None:
            keys[name] = found
    roles = signed.sections("roles")
    if missing := [name for name in ROLES if name not in roles]:
        raise signed.error("roles", f"lacks {missing[0]}")
    root = Root(
        *_common(signed),
        keys,
        {name: _role(roles[name]) for name in ROLES},
        signed.flag("consistent_snapshot"),
    )
    return Metadata("root", root, *rest)


def parse_listing(data: bytes, role: str) -> Metadata[Listing]:
    """Metadata of *role*: timestamp, snapshot or targets.

    Raises:
        InvalidArgument: not that.
    """
    signed, rest = _open(data, role)
    if role == "targets":
        files = {name: _target(entry) for name, entry in signed.sections("targets").items()}
    else:
        metas = signed.sections("meta")
        files = {name.removesuffix(".json"): _meta(entry) for name, entry in metas.items()}
        below = "snapshot" if role == "timestamp" else "targets"
        if below not in files:
            raise signed.error("meta", f"lacks {below}.json")
    return Metadata(role, Listing(*_common(signed), files), *rest)


def check_signatures(
    metadata: Metadata[Root] | Metadata[Listing], by: Root, verify: Verify
) -> None:
    """Enough of those whom *by* names for the role have signed.

    Raises:
        Forbidden: they have not.
    """
    role = by.roles[metadata.role]
    found = {
        name
        for name, signature in metadata.signatures
        if name in role.key_ids
        and name in by.keys
        and verify(by.keys[name], signature, metadata.payload)
    }
    if len(found) < role.threshold:
        raise Forbidden(
            f"{metadata.role}.json (version {metadata.signed.version}) has {len(found)} valid "
            f"signatures, {role.threshold} are needed"
        )


def check_expiry(metadata: Metadata[Root] | Metadata[Listing], now: int) -> None:
    """Raises: Forbidden: it is not valid any more at *now*."""
    if now >= metadata.signed.expires:
        raise Forbidden(
            f"{metadata.role}.json (version {metadata.signed.version}) has expired on "
            f"{format_moment(metadata.signed.expires)}; this machine has {format_moment(now)}",
            hint="publish it anew, or set the clock if it is wrong",
        )


def _open(data: bytes, role: str) -> tuple[Fields, tuple[bytes, tuple[tuple[str, bytes], ...]]]:
    """The signed part, and payload and signatures."""
    whole = parse_object(data, f"{role}.json", MAX_BYTES[role])
    signed = whole.section("signed")
    if signed.text("_type") != role:
        raise signed.error("_type", f"is not {role}")
    signed.text("spec_version", _SPEC_VERSION)
    entries = whole.entries("signatures")
    if len(entries) > MAX_SIGNATURES:
        raise whole.error("signatures", f"has more than {MAX_SIGNATURES}")
    signatures = tuple(
        (entry.text("keyid"), bytes.fromhex(text))
        for entry in entries
        # Other kinds of keys have other signatures.
        if _SIGNATURE.fullmatch(text := entry.text("sig", limit=4096))
    )
    return signed, (canonical(whole.raw("signed")), signatures)


def _common(signed: Fields) -> tuple[int, int]:
    return signed.number("version", 1), signed.moment("expires")


def _key(name: str, fields: Fields) -> bytes | None:
    """The public key; None for one of a kind that is not used."""
    if fields.text("keytype") != KEY_TYPE or fields.text("scheme") != KEY_TYPE:
        return None
    public = bytes.fromhex(fields.section("keyval").text("public", _PUBLIC))
    if key_id(public) != name:
        raise InvalidArgument(f"{fields.where}: is the id of another key")
    return public


def _role(fields: Fields) -> Role:
    names = fields.items("keyids")
    if not all(isinstance(name, str) for name in names):
        raise fields.error("keyids", "must be strings")
    return Role(frozenset(map(str, names)), fields.number("threshold", 1))


def _meta(fields: Fields) -> FileInfo:
    length = fields.number("length") if "length" in fields else None
    digest = fields.section("hashes").text("sha256", SHA256) if "hashes" in fields else ""
    return FileInfo(fields.number("version", 1), length, digest)


def _target(fields: Fields) -> FileInfo:
    digest = fields.section("hashes").text("sha256", SHA256)
    return FileInfo(0, fields.number("length"), digest)
