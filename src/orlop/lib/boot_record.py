"""The boot record: which image the boot loader starts, and which one it tries once.

Two files of the boot partition hold one each, and the valid one with the higher number counts. A
writer rewrites the other one in place: its variables lie in one sector, nothing of the file system
changes, and until that sector is written the old record counts. GRUB reads them (os/boot/disk.cfg)
and writes one thing: the number of the record whose trial it has begun, to a file of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib import environment_block
from orlop.lib.errors import Internal, InvalidArgument, NotFound

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = ("boot-0.env", "boot-1.env")
TRIED = "tried.env"
BLOCK_BYTES = 1024
IMAGE_ID_DIGITS = 16

_SECTOR_BYTES = 512
_MAX_SEQUENCE = 2**63
_HEXADECIMAL = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class BootRecord:
    """Images by their IDs, the first 16 hexadecimal digits of their SHA-256; "" is none.

    default: the last one that has proven good.
    previous: what is started where that one cannot be.
    trial: what is started once, the next time.
    recovery: what is started where neither of the first two can be, in recovery mode.
    """

    sequence: int
    default: str
    previous: str = ""
    trial: str = ""
    recovery: str = ""


def image_id(sha256: str) -> str:
    """The ID of an image with that hash."""
    return sha256[:IMAGE_ID_DIGITS]


def is_image_id(text: str) -> bool:
    return len(text) == IMAGE_ID_DIGITS and _HEXADECIMAL.issuperset(text)


def parse(block: bytes) -> BootRecord | None:
    """The record in *block*; None if it is torn, or none."""
    found = environment_block.parse(block)
    if found is None or (sequence := _number(found.get("begin", ""))) is None:
        return None
    names = [found.get(name, "") for name in ("default", "previous", "trial", "recovery")]
    if found.get("end") != found["begin"] or not sequence or not is_image_id(names[0]):
        return None
    if not all(name == "" or is_image_id(name) for name in names):
        return None
    return BootRecord(sequence, *names)


def format_block(record: BootRecord) -> bytes:
    """1,024 bytes, whose variables lie in the first 512.

    Raises:
        InvalidArgument: *record* is none that `parse` would take.
    """
    variables = {
        "begin": str(record.sequence),
        "default": record.default,
        "previous": record.previous,
        "trial": record.trial,
        "recovery": record.recovery,
        "end": str(record.sequence),
    }
    block = environment_block.render(variables, _SECTOR_BYTES).ljust(BLOCK_BYTES, b"#")
    if parse(block) != record:
        raise InvalidArgument(f"not a boot record: {record}")
    return block


def parse_tried(block: bytes) -> int:
    """The number of the record whose trial the boot loader has begun last; 0 if there is none."""
    found = environment_block.parse(block) or {}
    return _number(found.get("tried", "")) or 0


def first_files(record: BootRecord) -> dict[str, bytes]:
    """Contents of the three files of a new installation that starts with *record*."""
    nothing = environment_block.render({}, BLOCK_BYTES)
    return {RECORDS[0]: format_block(record), RECORDS[1]: nothing, TRIED: nothing}


def read(directory: Path) -> tuple[BootRecord, int]:
    """The record in *directory* that counts, and the number of the last trial (`parse_tried`).

    Raises:
        NotFound: there is none that is whole.
    """
    whole = [record for record in map(parse, _blocks(directory)) if record is not None]
    if not whole:
        raise NotFound(f"{directory} has no boot record that is whole")
    return max(whole, key=lambda record: record.sequence), parse_tried(_read(directory / TRIED))


def write(directory: Path, record: BootRecord) -> None:
    """Let *record* count from now on. Blocks until it is on the disk, and reads it back from there.

    Raises:
        InvalidArgument: it is not valid, or not newer than the one that counts.
        Internal: the disk holds something else than what was written.
        OSError: the files are missing or the disk refuses.
    """
    block = format_block(record)
    numbers = [found.sequence if found else 0 for found in map(parse, _blocks(directory))]
    if record.sequence <= max(numbers):
        raise InvalidArgument(f"boot record {record.sequence} is not newer than {max(numbers)}")
    _write_block(directory / RECORDS[numbers.index(min(numbers))], block)


def replace_all(directory: Path, record: BootRecord) -> None:
    """Let *record* be what counts in *directory*, also where what is there has a higher number.

    As for `write`, at no moment does none count; what both records name has to be there.

    Raises:
        InvalidArgument, Internal, OSError: as `write`.
    """
    blocks = [parse(block) for block in _blocks(directory)]
    numbers = [found.sequence if found else 0 for found in blocks]
    newest = numbers.index(max(numbers))
    if blocks[newest] == record:
        return
    _write_block(directory / RECORDS[1 - newest], format_block(record))
    if record.sequence <= numbers[newest]:
        _write_block(directory / RECORDS[newest], environment_block.render({}, BLOCK_BYTES))


def write_tried(directory: Path, sequence: int) -> None:
    """Note that the trial of record *sequence* has been begun, as the boot loader does.

    Raises:
        Internal, OSError: as `write`.
    """
    words = {"tried": str(sequence)} if sequence else {}
    _write_block(directory / TRIED, environment_block.render(words, BLOCK_BYTES))


def _write_block(path: Path, block: bytes) -> None:
    """Write *block* in place, and read it back from the disk."""
    descriptor = os.open(path, os.O_RDWR | os.O_DSYNC | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_size != BLOCK_BYTES:
            raise Internal(f"{path} does not have {BLOCK_BYTES} bytes any more")
        os.pwrite(descriptor, block, 0)
        os.fsync(descriptor)
        # What is in memory would say that all is well: the next read is to come from the disk.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if os.pread(descriptor, BLOCK_BYTES, 0) != block:
            raise Internal(f"{path} does not hold what was written to it")
    finally:
        os.close(descriptor)


def _blocks(directory: Path) -> list[bytes]:
    return [_read(directory / name) for name in RECORDS]


def _read(path: Path) -> bytes:
    """What is in *path*, or nothing: a file that is gone counts like one that is damaged."""
    try:
        with path.open("rb") as stream:
            return stream.read(BLOCK_BYTES)
    except OSError:
        return b""


def _number(text: str) -> int | None:
    if not text.isdecimal() or len(text) > len(str(_MAX_SEQUENCE)):
        return None
    return int(text)
