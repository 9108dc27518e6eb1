"""Metadata, manifests and channels from anywhere are parsed or refused in our own words; what is
parsed means the same once it is written and read again."""

from __future__ import annotations

import json

from orlop.lib.errors import OrlopError
from orlop.wire import channel, release
from orlop.wire.tuf import metadata

_SHA256 = "ab" * 32
_KEY = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "00" * 32}}
_ROLE = {"keyids": [metadata.key_id(bytes(32))], "threshold": 1}
_HEAD = {"spec_version": "1.0.34", "version": 1, "expires": "2030-01-01T00:00:00Z"}


def _signed(role: str, **more: object) -> bytes:
    signature = {"keyid": metadata.key_id(bytes(32)), "sig": "00" * 64}
    signed = {"_type": role, **_HEAD, **more}
    return json.dumps({"signed": signed, "signatures": [signature]}).encode()


SEEDS = (
    _signed(
        "root",
        keys={metadata.key_id(bytes(32)): _KEY},
        roles=dict.fromkeys(metadata.ROLES, _ROLE),
        consistent_snapshot=True,
    ),
    _signed("timestamp", meta={"snapshot.json": {"version": 1, "length": 5}}),
    _signed("snapshot", meta={"targets.json": {"version": 1, "hashes": {"sha256": _SHA256}}}),
    _signed("targets", targets={"blobs/x": {"length": 1, "hashes": {"sha256": _SHA256}}}),
    release.format_release(
        release.Release(
            version="1",
            sequence=1,
            image=release.Image(_SHA256, 1 << 20, "0" * 16, (1, 2), (3, 4)),
            services={"a": release.Service(f"sha256:{_SHA256}", release.Blob(_SHA256, 1))},
            deltas=(release.Delta(_SHA256, 1, _SHA256),),
            not_after=1_900_000_000,
        )
    ),
    channel.format_channel(
        channel.Channel(
            sequence=1,
            release="1",
            barriers=(channel.Barrier("1", 1),),
            dead_ends={"1": ""},
            revoked={"2": "x"},
        )
    ),
)
TOKENS = (b"{", b"[" * 40, b"null", b"1e9", b"-1", b'""', b"\\u0000", b"true", b",", b":", b"NaN")


def check(data: bytes) -> None:
    for role in metadata.ROLES:
        try:
            found = (
                metadata.parse_root(data) if role == "root" else metadata.parse_listing(data, role)
            )
        except OrlopError:
            continue
        # What is signed is the same after another reader has read it.
        assert metadata.canonical(json.loads(data)["signed"]) == found.payload
    try:
        one = release.parse_release(data, "1")
    except OrlopError:
        pass
    else:
        assert release.parse_release(release.format_release(one), "1") == one
    try:
        other = channel.parse_channel(data, "stable")
    except OrlopError:
        return
    assert channel.parse_channel(channel.format_channel(other), "stable") == other
