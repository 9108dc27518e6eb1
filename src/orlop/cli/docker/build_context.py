"""The build context: a directory without what `.dockerignore` names, or an archive from stdin."""

from __future__ import annotations

import os
import stat
import sys

from orlop.cli.docker import files
from orlop.cli.docker.failure import Failure
from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile.ignore import MAX_BYTES, IgnoreRules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

IGNORE_FILE = ".dockerignore"
DOCKERFILE = "Dockerfile"
STDIN_DOCKERFILE = ".dockerfile.stdin"
ARCHIVE_MAGICS = (b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
MAGIC_OFFSET = 257
"""Where a tar that is not compressed says that it is one."""
HEAD_BYTES = 512


class Context:
    """What is sent: the tar in pieces, and the Dockerfile's name in it."""

    __slots__ = ("dockerfile", "parts")

    def __init__(self, parts: Iterable[bytes], dockerfile: str) -> None:
        self.parts = parts
        self.dockerfile = dockerfile


def of(source: str, dockerfile: str) -> Context:
    """The context that `docker build -f dockerfile source` names.

    Raises:
        Failure: docker's text.
    """
    if source == "-":
        if dockerfile == "-":
            raise Failure("invalid argument: can't use stdin for both build context and dockerfile")
        return _from_stdin(dockerfile)
    if not os.path.isdir(source):
        kinds = ("http://", "https://", "git://", "git@", "github.com/")
        if source.startswith(kinds):
            raise Failure(f"unable to prepare context: {source}: only folders and archives here")
        raise Failure(f'unable to prepare context: path "{source}" not found')
    return _from_directory(source, dockerfile)


def _from_stdin(dockerfile: str) -> Context:
    head = b""
    while len(head) < HEAD_BYTES and (data := os.read(0, HEAD_BYTES - len(head))):
        head += data
    is_tar = head[MAGIC_OFFSET : MAGIC_OFFSET + 5] == b"ustar"
    if is_tar or head.startswith(ARCHIVE_MAGICS):
        return Context(_chain(head), dockerfile or DOCKERFILE)
    if dockerfile:
        raise Failure(
            "unable to prepare context: ambiguous Dockerfile source: both stdin and flag"
            " correspond to Dockerfiles"
        )
    from orlop.cli.docker.archive import END, data_entry

    text = b"".join(_chain(head))
    return Context([data_entry(DOCKERFILE, text), END], DOCKERFILE)


def _chain(head: bytes) -> Iterator[bytes]:
    yield head
    yield from files.blocks_of(0)


def _from_directory(source: str, dockerfile: str) -> Context:
    root = os.path.realpath(source)
    extra = None
    if dockerfile == "-":
        extra = sys.stdin.buffer.read()
        inside = ""
    else:
        path = os.path.join(root, DOCKERFILE) if not dockerfile else os.path.abspath(dockerfile)
        if dockerfile and not os.path.exists(path):
            path = os.path.join(root, dockerfile)
        if not dockerfile and not os.path.exists(path) and os.path.exists(path.replace("/D", "/d")):
            path = os.path.join(root, DOCKERFILE.lower())
        inside = _inside(root, path)
        if not inside:
            extra = b"".join(files.blocks_of(files.open_file(path)))
    name = inside or STDIN_DOCKERFILE
    rules, has_exceptions = _rules(root, [IGNORE_FILE, *([inside] if inside else [])])
    return Context(_tar(root, rules, has_exceptions, extra), name)


def _inside(root: str, path: str) -> str:
    """*path* relative to *root*; empty if it lies elsewhere.

    Raises:
        Failure: there is no such file.
    """
    try:
        os.lstat(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Failure(
            "unable to prepare context: unable to evaluate symlinks in Dockerfile path:"
            f" lstat {path}: {reason}"
        ) from None
    real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    relative = os.path.relpath(real, root)
    return "" if relative.startswith("../") else relative


def _rules(root: str, needed: list[str]) -> tuple[IgnoreRules, bool]:
    """What is ignored, though never what the engine *needed*; are there exceptions?"""
    try:
        with open(os.path.join(root, IGNORE_FILE), "rb") as file:
            text = file.read(MAX_BYTES).decode(errors="replace").removeprefix("\ufeff")
    except FileNotFoundError:
        return IgnoreRules(()), False
    except OSError as error:
        raise Failure(f"error reading {IGNORE_FILE}: {error.strerror}") from None
    lines = text.splitlines()
    try:
        rules = IgnoreRules(lines)
        back = [f"!{name}" for name in needed if rules.ignores(name)]
        has_exceptions = any(line.strip().startswith("!") for line in [*lines, *back])
        return IgnoreRules([*lines, *back]), has_exceptions
    except InvalidArgument as error:
        raise Failure(f"error checking context: {error}") from None


def _tar(
    root: str, rules: IgnoreRules, has_exceptions: bool, dockerfile: bytes | None
) -> Iterator[bytes]:
    from orlop.cli.docker.archive import END, Archive, data_entry

    archive = Archive(owner=0)
    for relative, path in _walk(root, "", rules, has_exceptions):
        if dockerfile is None or relative != STDIN_DOCKERFILE:
            yield from archive.entry(path, relative)
    if dockerfile is not None:
        yield data_entry(STDIN_DOCKERFILE, dockerfile)
    yield END


def _walk(
    root: str, below: str, rules: IgnoreRules, has_exceptions: bool
) -> Iterator[tuple[str, str]]:
    """Relative and full path of each file that takes part.

    A directory that is ignored is only looked into when something in it may be taken back; then it
    comes along for what is in it.
    """
    try:
        names = sorted(os.listdir(os.path.join(root, below)))
    except OSError as error:
        raise Failure(f"error checking context: can't stat '{error.filename}'") from None
    for name in names:
        relative = os.path.join(below, name)
        path = os.path.join(root, relative)
        is_directory = stat.S_ISDIR(os.lstat(path).st_mode)
        ignored = bool(rules) and rules.ignores(relative)
        if not ignored:
            yield relative, path
        if is_directory and (not ignored or has_exceptions):
            inner = _walk(root, relative, rules, has_exceptions)
            first = next(inner, None)
            if first is not None:
                if ignored:
                    yield relative, path
                yield first
                yield from inner
