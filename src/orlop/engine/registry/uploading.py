"""Bringing one blob to a registry: is it there, can it be taken from elsewhere, else send it.

Worker only.
"""

from __future__ import annotations

import os
import time
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlencode

from orlop.engine.registry.http import TransportError
from orlop.engine.registry.session import RETRY_DELAYS_S, follow
from orlop.lib.errors import OrlopError
from orlop.wire.registry.errors import RefusedByRegistry, UnexpectedStatus
from orlop.wire.registry.manifest import DOCKER_LAYER, Descriptor
from orlop.wire.registry.token import repository_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.engine.registry.session import Session

GZIP_LEVEL = 5
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""No name, no time, no system: equal layers make equal blobs, whoever pushes them."""

MAX_ANSWER_BYTES = 64 << 10


def blob_exists(session: Session, blob: Descriptor) -> bool:
    """Whether the repository has it, by HEAD.

    Raises:
        OrlopError: the registry refuses to say.
    """
    url = session.url(f"/blobs/{blob.digest}")
    try:
        session.call("HEAD", url).read_all(0)
    except (RefusedByRegistry, UnexpectedStatus) as error:
        if error.status == 404:
            return False
        raise
    return True


def mount(session: Session, digest: str, source: str) -> bool:
    """Have the registry take the blob from repository *source* of its own; whether it did."""
    query = urlencode({"mount": digest, "from": source})
    url = session.url(f"/blobs/uploads/?{query}")
    scopes = [repository_scope(source, "pull")]
    try:
        response = session.call("POST", url, body=b"", scopes=scopes, ok=(201, 202))
    except OrlopError:
        return False
    response.read_all(MAX_ANSWER_BYTES)
    if response.status == 201:
        return True
    # It began an upload instead, which is not wanted.
    try:
        session.call("DELETE", follow(response), ok=(200, 202, 204), patient=False).read_all(
            MAX_ANSWER_BYTES
        )
    except OrlopError:
        pass
    return False


def upload(session: Session, digest: str, body: Callable[[], BinaryIO], size: int) -> None:
    """Send a blob: begin, its bytes, its digest. A cut upload begins anew.

    *body* makes the stream for an attempt.

    Raises:
        OrlopError: it could not be sent.
    """
    for delay_s in (*RETRY_DELAYS_S, None):
        try:
            response = session.call("POST", session.url("/blobs/uploads/"), body=b"", ok=(202,))
            response.read_all(MAX_ANSWER_BYTES)
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            response = session.call(
                "PATCH", follow(response), headers=headers, body=body, ok=(202, 204), patient=False
            )
            response.read_all(MAX_ANSWER_BYTES)
            target = follow(response)
            target += ("&" if "?" in target else "?") + urlencode({"digest": digest})
            session.call("PUT", target, body=b"", ok=(201, 204), patient=False).read_all(
                MAX_ANSWER_BYTES
            )
            return
        except (TransportError, UnexpectedStatus) as error:
            if delay_s is None or (isinstance(error, UnexpectedStatus) and error.status < 500):
                raise
            time.sleep(delay_s)
        except RefusedByRegistry as error:
            if delay_s is None or error.status != 429:
                raise
            time.sleep(delay_s)


def compress(tar: BinaryIO, name: str) -> tuple[BinaryIO, Descriptor]:
    """A gzip stream of *tar* in the staging directory, the same for the same bytes."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    output = os.fdopen(os.open(name, flags, 0o600), "w+b")
    digest = sha256()
    size = checksum = length = 0
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)

    def put(data: bytes) -> None:
        nonlocal size
        digest.update(data)
        size += len(data)
        output.write(data)

    put(_GZIP_HEADER)
    tar.seek(0)
    while data := tar.read(1 << 20):
        checksum = zlib.crc32(data, checksum)
        length += len(data)
        put(compressor.compress(data))
    put(compressor.flush())
    put(checksum.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little"))
    output.flush()
    return output, Descriptor(DOCKER_LAYER, f"sha256:{digest.hexdigest()}", size)
