"""Takes in a build context: keeps the archive and an index of it, and reads the Dockerfile.

In a worker. Descriptor 0 is the context, compressed or not; what is kept is in the worker's
directory. Answers with the statements of the Dockerfile.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from orlop.engine import json_codec
from orlop.engine.build import context_tree
from orlop.engine.build.archive_source import READ_BYTES, PieceSource, unpacked
from orlop.engine.build.trees import resolve
from orlop.engine.build.workspace import CONTEXT_FILE, INDEX_FILE
from orlop.engine.sandbox import Limits, drop_privileges
from orlop.engine.store import compression
from orlop.engine.store.spool import sha256
from orlop.engine.worker_process import report
from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.wire.dockerfile.dockerfile import group
from orlop.wire.dockerfile.ignore import IgnoreRules, parse_ignore
from orlop.wire.dockerfile.source import MAX_BYTES, decode, read_source
from orlop.wire.tar import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.engine.build.trees import Tree

DIRECTORY = 3
LIMITS = Limits(memory_bytes=1536 << 20)


def main(job: dict[str, Any]) -> None:
    """See the module; *job* has `dockerfile`, `plain` and `max_bytes`."""
    compression.load_codecs()
    sha256()
    drop_privileges(DIRECTORY, LIMITS)
    if job.get("plain"):
        data = b"".join(_input(MAX_BYTES + 1))
        _save({}, b"")
        _answer(data, "Dockerfile")
        return
    _, pieces = unpacked(_input(int(job["max_bytes"])))
    with open(CONTEXT_FILE, "xb") as kept:
        source = PieceSource(_kept(pieces, kept, int(job["max_bytes"])))
        files = context_tree.read_context(source)
        # What follows the archive's end is padding; the sender is to be rid of it.
        while source.read(READ_BYTES):
            pass
    descriptor = os.open(CONTEXT_FILE, os.O_RDONLY | os.O_CLOEXEC)
    tree = context_tree.ContextTree(descriptor, files)
    name = context_tree.clean_path(str(job["dockerfile"]))
    name, data = _find_dockerfile(tree, name)
    rules = _ignore_rules(tree, name)
    _save(context_tree.without_ignored(files, rules), b"")
    _answer(data, name)


def _input(limit: int) -> Iterator[bytes]:
    left = limit
    while data := os.read(0, READ_BYTES):
        left -= len(data)
        if left < 0:
            raise ResourceExhausted("the build context is too large for the disk")
        yield data


def _kept(pieces: Iterator[bytes], stream: Any, limit: int) -> Iterator[bytes]:
    left = limit
    for data in pieces:
        left -= len(data)
        if left < 0:
            raise ResourceExhausted("the build context is too large for the disk")
        stream.write(data)
        yield data
    stream.flush()


def _find_dockerfile(tree: Tree, name: str) -> tuple[str, bytes]:
    for candidate in (name, name.lower()) if name == "Dockerfile" else (name,):
        path = resolve(tree, candidate)
        header = tree.lstat(path)
        if header is not None and header.kind is Kind.FILE:
            if header.size > MAX_BYTES:
                raise InvalidArgument(f"the Dockerfile is larger than {MAX_BYTES} bytes")
            data = b"".join(tree.chunks(path))
            if not data:
                raise InvalidArgument(f"the Dockerfile ({candidate}) cannot be empty")
            return candidate, data
    raise InvalidArgument(f"Cannot locate specified Dockerfile: {name}")


def _ignore_rules(tree: Tree, dockerfile: str) -> IgnoreRules:
    for name in (f"{dockerfile}.dockerignore", ".dockerignore"):
        path = resolve(tree, name)
        header = tree.lstat(path)
        if header is not None and header.kind is Kind.FILE and header.size <= MAX_BYTES:
            return parse_ignore(b"".join(tree.chunks(path)))
    return IgnoreRules(())


def _save(files: dict[str, list[Any]], context: bytes) -> None:
    if not os.path.exists(CONTEXT_FILE):
        with open(CONTEXT_FILE, "xb") as stream:
            stream.write(context)
    with open(INDEX_FILE, "xb") as index:
        # An encoding has to be imported, which is too late for.
        index.write(json.dumps(files, separators=(",", ":")).encode())


def _answer(dockerfile: bytes, name: str) -> None:
    source = read_source(decode(dockerfile))
    # Whatever is wrong anywhere in the file is found before anything is built.
    group(source)
    report({"source": json_codec.encode(source), "name": name})
