"""The worker of builds: `worker build COMMAND JOB`. Descriptor 3 is a directory of its own.

    context   0 is the context: keeps it and its index in the directory, and answers with the
              statements of the Dockerfile
    copy      the job is a line of JSON on 0; 4, 5: context and index; 6: the root below; 7: the
              root that is the source; 8: where the layer goes; from 9 on: what ADD fetched.
              Answers with a digest of the files, and goes on when another line comes

All of it is input from strangers: the worker gives up everything first. To copy between images it
keeps one capability, that of reading every file, and sees no file but through those descriptors.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from orlop.engine import json_codec
from orlop.engine.build import context_tree
from orlop.engine.build.archive_source import READ_BYTES, PieceSource, unpacked
from orlop.engine.build.copy_job import Copy, CopyJob
from orlop.engine.build.trees import DirectoryTree, EmptyTree, resolve
from orlop.engine.build.workspace import CONTEXT_FILE, INDEX_FILE
from orlop.engine.sandbox import Limits, drop_privileges
from orlop.engine.store import compression
from orlop.engine.store.compression import CorruptStream
from orlop.engine.store.spool import sha256
from orlop.engine.worker_process import report, report_error
from orlop.lib.errors import Internal, InvalidArgument, OrlopError, ResourceExhausted
from orlop.lib.linux import LIBC, check
from orlop.wire.dockerfile.dockerfile import group
from orlop.wire.dockerfile.ignore import IgnoreRules, parse_ignore
from orlop.wire.dockerfile.source import MAX_BYTES, decode, read_source
from orlop.wire.tar import Kind, TarError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.engine.build.trees import Tree

DIRECTORY, CONTEXT, INDEX, BELOW, SOURCE, OUTPUT, FIRST_DOWNLOAD = 3, 4, 5, 6, 7, 8, 9
LIMITS = Limits(memory_bytes=1536 << 20)
MAX_JOB_BYTES = 16 << 20
MAX_INDEX_BYTES = 512 << 20

PR_SET_KEEPCAPS = 8
CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522


def main(argv: list[str]) -> int:
    """Run one command; its answer, or why there is none, is on descriptor 1."""
    try:
        command = argv[0]
        if command == "fetch":
            from orlop.engine.build import fetch

            fetch.main(json.loads(argv[1]))
            os._exit(0)
        compression.load_codecs()
        sha256()
        if command == "copy":
            drop_privileges(DIRECTORY, LIMITS, start_threads=_keep_capabilities)
            _keep_only_reading()
            _copy()
        else:
            drop_privileges(DIRECTORY, LIMITS)
            _context(json.loads(argv[1]))
    except (TarError, CorruptStream) as error:
        report_error(InvalidArgument(f"Error processing tar file: {error}"))
    except MemoryError:
        report_error(ResourceExhausted("the input takes more memory than a worker may have"))
    except OrlopError as error:
        report_error(error)
    except OSError as error:
        report_error(ResourceExhausted(error.strerror or str(error)))
    except Exception as error:  # noqa: BLE001 - nobody reads a traceback of a worker
        report_error(Internal(f"a build worker failed: {error!r}"))
    sys.stdout.flush()
    os._exit(0)


def _keep_capabilities() -> None:
    if os.geteuid() == 0:
        check(LIBC.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))


def _keep_only_reading() -> None:
    """All capabilities away but CAP_DAC_READ_SEARCH; capset(2), version 3."""
    if os.geteuid() == 0 or os.getresuid()[2] == 0:
        return
    bit = 1 << CAP_DAC_READ_SEARCH
    head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bit, bit, 0, 0, 0, 0)
    try:
        check(LIBC.capset(ctypes.byref(head), ctypes.byref(data)))
    except PermissionError:
        # An engine without it: what everybody may read can be copied.
        return


def _read_job() -> dict[str, Any]:
    data = b""
    while b"\n" not in data:
        more = os.read(0, READ_BYTES)
        if not more or len(data) > MAX_JOB_BYTES:
            raise InvalidArgument("no job for a build worker")
        data += more
    job: dict[str, Any] = json.loads(data)
    return job


def _context(job: dict[str, Any]) -> None:
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


def _copy() -> None:
    raw = _read_job()
    job = json_codec.decode(CopyJob, raw["job"])
    below: Tree = DirectoryTree(BELOW) if raw["has_below"] else EmptyTree()
    source: Tree
    if raw["source"] == "context":
        source = context_tree.ContextTree(CONTEXT, _load_index())
    else:
        source = DirectoryTree(SOURCE) if raw["source"] == "root" else EmptyTree()
    downloads = tuple(FileTree(FIRST_DOWNLOAD + number) for number in range(len(job.downloads)))
    copy = Copy(job, source, below, downloads)
    report({"digest": copy.look(), "needed": copy.needed()})
    if os.read(0, 1):
        copy.write(_write)
        os.close(OUTPUT)
        report({"done": True})


def _load_index() -> dict[str, list[Any]]:
    # By offset: the workers of all steps share one open file.
    size = os.fstat(INDEX).st_size
    if size > MAX_INDEX_BYTES:
        raise ResourceExhausted("the build context has too many files")
    parts: list[bytes] = []
    while size and (data := os.pread(INDEX, size, sum(map(len, parts)))):
        parts.append(data)
        size -= len(data)
    files: dict[str, list[Any]] = json.loads(b"".join(parts))
    return files


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(OUTPUT, view) :]


class FileTree(context_tree.ContextTree):
    """One file that is open; its path is empty."""

    def __init__(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        super().__init__(descriptor, {"": [Kind.FILE.value, 0o600, size, 0, "", 0, "", None]})

    def digest(self, path: str) -> str:
        digest = sha256()
        for data in self.chunks(path):
            digest.update(data)
        return str(digest.hexdigest())
