"""Files as an artifact in a registry: each a layer whose title is its path.

Source: OCI image specification 1.1, manifest.md, "Guidelines for Artifact Usage".
"""

import binascii
import io
import json
from collections.abc import Mapping
from functools import partial
from hashlib import file_digest, sha256
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from orlop.engine.registry.files import TITLE
from orlop.engine.registry.session import Session
from orlop.engine.registry.settings import Registries
from orlop.engine.registry.tls import Contexts
from orlop.engine.registry.uploading import blob_exists, upload
from orlop.lib.errors import InvalidArgument, OrlopError, Unavailable
from orlop.wire.registry.auth_config import AuthConfig
from orlop.wire.registry.endpoints import plan_endpoints
from orlop.wire.registry.manifest import OCI_MANIFEST, Descriptor
from orlop.wire.registry.reference import Reference, parse_reference

SCHEME = "oci://"
ARTIFACT_TYPE = "application/vnd.orlop.releases.v1"
LAYER_TYPE = "application/vnd.orlop.release.file.v1"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"


def push(place: str, files: Mapping[str, Path], *, insecure: bool = False) -> str:
    """Push *files* by path to *place*, `oci://HOST/NAME:TAG`; the digest of the manifest.

    Credentials are those that `docker login` has written to ~/.docker/config.json.

    Raises:
        OrlopError: the registry cannot be reached, or refuses.
    """
    if not place.startswith(SCHEME):
        raise InvalidArgument(f"{place}: {SCHEME}HOST/NAME:TAG expected")
    reference = parse_reference(place.removeprefix(SCHEME)).with_default_tag()
    session = _session(reference, insecure=insecure)
    layers = []
    for title, path in files.items():
        with path.open("rb") as stream:
            digest = f"sha256:{file_digest(stream, 'sha256').hexdigest()}"
            blob = Descriptor(LAYER_TYPE, digest, path.stat().st_size)
            if not blob_exists(session, blob):
                upload(session, digest, partial(_rewound, stream), blob.size)
        layers.append({**_json(blob), "annotations": {TITLE: title}})
    config = Descriptor(EMPTY_TYPE, f"sha256:{sha256(EMPTY).hexdigest()}", len(EMPTY))
    if not blob_exists(session, config):
        upload(session, config.digest, lambda: io.BytesIO(EMPTY), len(EMPTY))
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": ARTIFACT_TYPE,
            "config": _json(config),
            "layers": layers,
        }
    ).encode()
    url = session.url(f"/manifests/{quote(reference.tag, safe='')}")
    session.call(
        "PUT", url, headers={"Content-Type": OCI_MANIFEST}, body=manifest, ok=(200, 201, 202)
    ).read_all(1 << 20)
    session.close()
    return f"sha256:{sha256(manifest).hexdigest()}"


def _session(reference: Reference, *, insecure: bool) -> Session:
    domain = reference.domain
    name = domain.rpartition(":")[0] or domain
    loopback = name in ("localhost", "127.0.0.1", "[::1]")
    hosts = frozenset([domain]) if insecure or loopback else frozenset()
    contexts = Contexts(Registries(), [domain])
    auth = _credentials(domain)
    last: OrlopError = Unavailable(f"no way to {domain}")
    for endpoint in plan_endpoints(domain, (), hosts, with_mirrors=False):
        session = Session(endpoint, contexts, auth, reference.path, ["pull", "push"])
        try:
            session.ping()
        except OrlopError as error:
            last = error
            continue
        return session
    raise last


def _credentials(domain: str) -> AuthConfig:
    try:
        config = json.loads((Path.home() / ".docker/config.json").read_bytes())
        pair = binascii.a2b_base64(config["auths"][domain]["auth"]).decode()
    except (OSError, ValueError, KeyError, TypeError):
        return AuthConfig()
    user, _, password = pair.partition(":")
    return AuthConfig(username=user, password=password)


def _rewound(stream: BinaryIO) -> BinaryIO:
    stream.seek(0)
    return stream


def _json(blob: Descriptor) -> dict[str, object]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}
