"""What a registry says (manifests, tokens, challenges, headers) and references that people write
are parsed or refused in our own words."""

from __future__ import annotations

import json

from orlop.lib.errors import OrlopError
from orlop.wire.registry import challenge, headers, manifest, reference, token

_DIGEST = "sha256:" + "ab" * 32
_DESCRIPTOR = {
    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
    "size": 3,
    "digest": _DIGEST,
}
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": 3, "digest": _DIGEST}
SEEDS = (
    json.dumps(
        {"schemaVersion": 2, "mediaType": _MANIFEST, "config": _CONFIG, "layers": [_DESCRIPTOR]}
    ).encode(),
    json.dumps(
        {"schemaVersion": 2, "manifests": [_DESCRIPTOR | {"platform": {"os": "linux"}}]}
    ).encode(),
    json.dumps({"rootfs": {"type": "layers", "diff_ids": [_DIGEST]}, "os": "linux"}).encode(),
    b'{"token": "x", "expires_in": 60}',
    b'Bearer realm="https://auth.example/token",service="r",scope="x:a:pull", Basic realm=x',
    b"localhost:5000/a/b:tag@" + _DIGEST.encode(),
    b"bytes 0-99/1000",
    b'</v2/_catalog?last=b&n=1>; rel="next"',
)
TOKENS = (
    b'"',
    b",",
    b"=",
    b"\\",
    b"{",
    b"[" * 40,
    b"1e9",
    b"null",
    b"sha256:",
    b"/",
    b":",
    b"@",
    b"-",
)


def check(data: bytes) -> None:
    text = data.decode("latin-1")
    for parse in (
        lambda: manifest.parse_manifest(data, _MANIFEST),
        lambda: manifest.parse_manifest(data, ""),
        lambda: manifest.parse_diff_ids(data),
        lambda: token.parse_token(data),
        lambda: reference.parse_reference(text),
    ):
        try:
            parse()
        except OrlopError:
            continue
    challenge.find_challenge(challenge.parse_challenges([text]), "bearer")
    headers.parse_content_range(text)
    headers.parse_retry_after(text, 0.0)
    headers.next_page(text, "https://r.example/v2/")
