"""Runs a `CopyJob`: says what the files are, and when another line comes, writes the layer.

In a worker. Descriptors: 0 the job, a line of JSON; 4, 5 context and index; 6 the root below; 7 the
root that is the source; 8 where the layer goes; from 9 on what ADD fetched. It keeps one
capability, that of reading every file, and sees no file but through those descriptors.
"""

from __future__ import annotations

import ctypes
import json
import os
from typing import TYPE_CHECKING, Any

from orlop.engine import json_codec
from orlop.engine.build.context_tree import ContextTree
from orlop.engine.build.copy_job import Copy, CopyJob
from orlop.engine.build.trees import READ_BYTES, DirectoryTree, EmptyTree
from orlop.engine.sandbox import Limits, drop_privileges
from orlop.engine.store import compression
from orlop.engine.store.spool import sha256
from orlop.engine.worker_process import report
from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.lib.linux import LIBC, check
from orlop.wire.tar import Kind

if TYPE_CHECKING:
    from orlop.engine.build.trees import Tree

DIRECTORY, CONTEXT, INDEX, BELOW, SOURCE, OUTPUT, FIRST_DOWNLOAD = 3, 4, 5, 6, 7, 8, 9
LIMITS = Limits(memory_bytes=1536 << 20)
MAX_JOB_BYTES = 16 << 20
MAX_INDEX_BYTES = 512 << 20

PR_SET_KEEPCAPS = 8
CAP_DAC_READ_SEARCH = 2
_CAPABILITY_VERSION_3 = 0x20080522


def main() -> None:
    """See the module."""
    compression.load_codecs()
    sha256()
    drop_privileges(DIRECTORY, LIMITS, start_threads=_keep_capabilities)
    _keep_only_reading()
    _copy()


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


def _copy() -> None:
    raw = _read_job()
    job = json_codec.decode(CopyJob, raw["job"])
    below: Tree = DirectoryTree(BELOW) if raw["has_below"] else EmptyTree()
    source: Tree
    if raw["source"] == "context":
        source = ContextTree(CONTEXT, _load_index())
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


class FileTree(ContextTree):
    """One file that is open; its path is empty."""

    def __init__(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        super().__init__(descriptor, {"": [Kind.FILE.value, 0o600, size, 0, "", 0, "", None]})

    def digest(self, path: str) -> str:
        digest = sha256()
        for data in self.chunks(path):
            digest.update(data)
        return str(digest.hexdigest())
