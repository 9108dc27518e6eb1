"""Files that commands send and receive, in pieces."""

from __future__ import annotations

import os

from orlop.cli.docker.failure import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK_BYTES = 256 << 10


def blocks_of(descriptor: int) -> Iterator[bytes]:
    """What *descriptor* gives, to its end; it is closed unless it is stdin."""
    try:
        while data := os.read(descriptor, BLOCK_BYTES):
            yield data
    finally:
        if descriptor:
            os.close(descriptor)


def open_file(path: str) -> int:
    """*path* for reading.

    Raises:
        Failure: docker's text.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Failure(f"open {path}: {(error.strerror or str(error)).lower()}") from None


def save(parts: Iterable[bytes], path: str) -> None:
    """Write *parts* to *path*, whole or not at all; to stdout if it is empty.

    Raises:
        Failure: stdout is a terminal, or the file cannot be written.
    """
    from orlop.cli.relay import write_all

    if not path:
        for part in parts:
            write_all(1, part)
        return
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Failure(f"failed to save image: open {path}: {reason}") from None
    try:
        for part in parts:
            write_all(descriptor, part)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)


def refuse_terminal(path: str) -> None:
    """An archive is not written to a terminal.

    Raises:
        Failure: docker's text.
    """
    if not path and os.isatty(1):
        raise Failure("cowardly refusing to save to a terminal. Use the -o flag or redirect")
