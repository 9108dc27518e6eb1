"""The store's worker: `worker store COMMAND JOB`, JOB a JSON object, descriptor 3 its directory.

    load    an image archive from descriptor 0
    layer   a layer from descriptor 0, compressed or not: {"digest": ..., "diff_id": ...} or empty
    index   the index of the layer in the file open as 0: {"diff_id": ..., "index": NAME}
    digest  of what descriptor 0 gives, as it is
    image   {"config": NAME, "manifest": NAME}: checks the two documents

It loads what it needs, gives up every privilege, sees nothing but its directory, and only then
looks at its input. Its answers are described where they are used, in `ingest`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from orlop.engine.sandbox import Limits, drop_privileges
from orlop.engine.store import compression
from orlop.engine.store.archive import ArchiveReader
from orlop.engine.store.byte_input import InputReader
from orlop.engine.store.compression import CorruptStream
from orlop.engine.store.layer_index import index_layer, make_index
from orlop.engine.store.spool import READ_BYTES, Budget, HashThread, Spool, sha256
from orlop.engine.worker_process import check_arguments, report, report_error
from orlop.lib.errors import InvalidArgument, OrlopError, ResourceExhausted
from orlop.wire.image_config import MAX_DOCUMENT_BYTES, parse_config
from orlop.wire.registry.manifest import Manifest, parse_manifest
from orlop.wire.registry.platform import normalize
from orlop.wire.tar import TarError

if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORY, BUFFERED = 3, 4
LIMITS = Limits(memory_bytes=1536 << 20)


def main(argv: list[str]) -> int:
    """Run one command; its answer, or why there is none, is on descriptor 1."""
    try:
        check_arguments(argv, 2)
        command, job = argv[0], json.loads(argv[1])
        compression.load_codecs()
        sha256()
        hashing = HashThread()
        drop_privileges(DIRECTORY, LIMITS, start_threads=hashing.start)
        spool = Spool(Budget(int(job.get("max_bytes", 1 << 50))), hashing)
        reader = InputReader(0, job, BUFFERED if job.get("buffered") else None)
        try:
            result = _run(command, job, spool, reader)
        except BaseException:
            if command in ("load", "layer"):
                reader.drain()
            raise
        report(result)
    except (TarError, CorruptStream) as error:
        report_error(InvalidArgument(str(error)))
    except MemoryError:
        report_error(ResourceExhausted("the input takes more memory than a worker may have"))
    except OrlopError as error:
        report_error(error)
    except OSError as error:
        report_error(ResourceExhausted(error.strerror or str(error)))
    sys.stdout.flush()
    os._exit(0)


def _run(
    command: str, job: Mapping[str, object], spool: Spool, reader: InputReader
) -> Mapping[str, object]:
    match command:
        case "load":
            platform = normalize(*str(job["platform"]).split("/"))
            return ArchiveReader(spool, platform).read(reader)
        case "layer":
            return _layer(job, spool, reader)
        case "digest":
            return _digest(reader)
        case "index":
            return _index(job)
        case "image":
            return _image(job)
    raise InvalidArgument(f"no command {command}")


def _digest(reader: InputReader) -> Mapping[str, object]:
    digest = sha256()
    while data := reader.read():
        digest.update(data)
    return {"digest": f"sha256:{digest.hexdigest()}"}


def _layer(job: Mapping[str, object], spool: Spool, reader: InputReader) -> Mapping[str, object]:
    """See `ingest.Ingest.add_layer`."""
    writer = spool.open()
    while data := reader.read():
        writer.write(data)
    blob = writer.finish()
    digest, diff_id = job.get("digest"), job.get("diff_id")
    if digest and blob.digest != digest:
        raise InvalidArgument(f"the layer has digest {blob.digest}, {digest} was expected")
    if diff_id and blob.tar_digest != diff_id:
        raise InvalidArgument(f"the layer has diff id {blob.tar_digest}, {diff_id} was expected")
    return {
        **index_layer(blob, blob.tar_digest),
        "blob_file": blob.path,
        "blob_digest": blob.digest,
        "blob_size": blob.size,
        "compression": blob.compression,
    }


def _index(job: Mapping[str, object]) -> Mapping[str, object]:
    """See `repair`: the layer is hashed before it is believed."""
    digest = sha256()
    while data := os.read(0, READ_BYTES):
        digest.update(data)
    if f"sha256:{digest.hexdigest()}" != job["diff_id"]:
        raise InvalidArgument(f"its bytes have digest sha256:{digest.hexdigest()}")
    return make_index(0, str(job["index"]), str(job["diff_id"]))


def _image(job: Mapping[str, object]) -> Mapping[str, object]:
    """See `ingest.Ingest.commit`."""
    data = _read(str(job["config"]))
    document, diff_ids = parse_config(data)
    digest = sha256()
    digest.update(data)
    result: dict[str, object] = {
        "id": f"sha256:{digest.hexdigest()}",
        "config": document,
        "layers": diff_ids,
    }
    if job.get("manifest"):
        data = _read(str(job["manifest"]))
        manifest = parse_manifest(data, str(job.get("media_type", "")))
        if not isinstance(manifest, Manifest):
            raise InvalidArgument("an index is no image")
        digest = sha256()
        digest.update(data)
        result["manifest"] = {
            "digest": f"sha256:{digest.hexdigest()}",
            "size": len(data),
            "media_type": manifest.media_type,
            "config": manifest.config.digest,
            "layers": [[item.digest, item.size, item.media_type] for item in manifest.layers],
        }
    return result


def _read(name: str) -> bytes:
    with open(name, "rb") as stream:
        return stream.read(MAX_DOCUMENT_BYTES + 1)
