"""`docker cp`: between a container and this machine, or a tar on stdin or stdout."""

from __future__ import annotations

import os
import sys

from orlop.cli.docker import copying, files, human
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, Flag
from orlop.cli.docker.session import query, quote
from orlop.cli.relay import write_all
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orlop.cli.client import Response
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("archive", "a", BOOL, "keep owners"),
    Flag("follow-link", "L", BOOL, "copy what a link at SRC_PATH leads to"),
    Flag("quiet", "q", BOOL, "say nothing"),
)
NOTE = """\
With - as the source a tar archive from stdin is unpacked in a folder of the container;
with - as the destination a tar archive of the source goes to stdout."""


def run(session: Session, values: Values) -> int:
    source, target = values.words
    if not source:
        raise Failure("source can not be empty")
    if not target:
        raise Failure("destination can not be empty")
    quiet = values.flag("quiet") if values.given("quiet") else not os.isatty(1)
    from_name, from_path = split(source)
    to_name, to_path = split(target)
    if from_name and to_name:
        raise Failure("copying between containers is not supported")
    if from_name:
        size = _fetch(session, values, from_name, from_path, to_path)
        shown = to_path if to_path == "-" else _absolute(to_path)
    elif to_name:
        size = _send(session, values, from_path, to_name, to_path)
        shown = f"{to_name}:{to_path}"
    else:
        raise Failure("must specify at least one container source")
    if not quiet and to_path != "-":
        size_text = human.decimal_size(size, 3)
        print(f"Successfully copied {size_text} to {shown}", file=sys.stderr)
    return 0


def split(word: str) -> tuple[str, str]:
    """The container and the path in `NAME:PATH`; no container if it is a path here."""
    if word.startswith("/"):
        return "", word
    name, colon, path = word.partition(":")
    return (name, path) if colon and not name.startswith(".") else ("", word)


def _absolute(path: str) -> str:
    """*path* from the root, with the end that says whether it is a folder or what is in it."""
    ending = "/." if path.endswith("/.") or path == "." else "/" if path.endswith("/") else ""
    return os.path.abspath(path).rstrip("/") + ending or "/"


def _target(name: str, **parameters: object) -> str:
    return f"/containers/{quote(name)}/archive{query(**parameters)}"


def _stat(session: Session, name: str, path: str) -> copying.Stat | None:
    """What is at *path* in the container; None if nothing is, or it cannot be looked at."""
    try:
        response = session.request("HEAD", _target(name, path=path))
    except OrlopError:
        return None
    response.close()
    return copying.read_stat(response.headers)


def _fetch(session: Session, values: Values, name: str, path: str, target: str) -> int:
    if target != "-":
        target = _absolute(target)
        copying.check_parent(target)
    rebase = ""
    if values.flag("follow-link"):
        found = _stat(session, name, path)
        if found is not None and found.is_link:
            rebase = os.path.basename(path.rstrip("/"))
            path = os.path.join(os.path.dirname(path.rstrip("/")), found.link)
    response = session.request("GET", _target(name, path=path))
    try:
        return _unpack(values, response, path, target, rebase)
    finally:
        response.close()


def _unpack(values: Values, response: Response, path: str, target: str, rebase: str) -> int:
    stat = copying.read_stat(response.headers)
    counter = Counter(response.parts())
    if target == "-":
        for part in counter.parts:
            write_all(1, part)
        return counter.total
    # A folder's contents come under the name ".", all else under its own.
    base = "." if path.endswith("/.") else os.path.basename(path.rstrip("/"))
    directory, base_here = copying.place(
        target,
        exists=os.path.exists(target),
        is_folder=os.path.isdir(target),
        source_is_folder=stat.is_folder,
    )
    copying.unpack(
        counter.parts,
        directory,
        rename=(base, base_here or rebase or base),
        keep_owner=values.flag("archive"),
    )
    return counter.total


def _send(session: Session, values: Values, source: str, name: str, path: str) -> int:
    found = _stat(session, name, path)
    if found is not None and found.is_link:
        path = os.path.join(os.path.dirname(path.rstrip("/")), found.link)
        found = _stat(session, name, path)
    is_folder = found is not None and found.is_folder
    if source == "-":
        if not is_folder:
            raise Failure(f'destination "{name}:{path}" must be a directory')
        counter = Counter(files.blocks_of(0))
        _put(session, name, path, counter, values)
        return counter.total
    source = _absolute(source)
    plain = source.removesuffix("/.").rstrip("/") or "/"
    if values.flag("follow-link") or source != plain:
        real = os.path.realpath(plain)
    else:
        real = os.path.join(os.path.realpath(os.path.dirname(plain)), os.path.basename(plain))
    try:
        os.lstat(real)
    except OSError as error:
        raise Failure(f"lstat {plain}: {(error.strerror or str(error)).lower()}") from None
    source_is_folder = os.path.isdir(real) and not os.path.islink(real)
    directory, base = copying.place(
        path, exists=found is not None, is_folder=is_folder, source_is_folder=source_is_folder
    )
    own = "" if source.endswith("/.") else os.path.basename(plain)
    counter = Counter(copying.archive_of(real, base or own, keep_owner=values.flag("archive")))
    _put(session, name, directory, counter, values)
    return counter.total


def _put(session: Session, name: str, path: str, counter: Counter, values: Values) -> None:
    target = _target(
        name,
        copyUIDGID="true" if values.flag("archive") else None,
        noOverwriteDirNonDir="true",
        path=path,
    )
    headers = {"Content-Type": "application/x-tar"}
    session.request("PUT", target, headers=headers, stream=counter.parts).read()


class Counter:
    """Counts the bytes of what passes."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self.total = 0
        self.parts = self._count(parts)

    def _count(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            self.total += len(part)
            yield part


COMMANDS = {
    "cp": Command(
        run,
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
        FLAGS,
        words=(2, 2),
        note=NOTE,
    )
}
