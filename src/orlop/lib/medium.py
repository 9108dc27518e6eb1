"""What is installed: the files of an Orlop medium, on the medium itself or in a file of it."""

from __future__ import annotations

import contextlib
import os
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import (
    bios_loader,
    boot_files,
    boot_record,
    environment_block,
    fat_reader,
    iso9660,
    unified_image,
)
from orlop.lib import partition_table as tables
from orlop.lib.boot_files import APPEND, BootImage
from orlop.lib.boot_record import BootRecord
from orlop.lib.errors import Conflict, InvalidArgument, NotFound
from orlop.lib.fat32 import Piece

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orlop.lib.fat32 import Content
    from orlop.lib.iso9660 import Extent, Read

LABEL = "ORLOP"
IMAGE = "/boot/orlop.efi"
MENU = "/orlop/disk.cfg"
BIOS = "/boot/bios.img"
EFI = "EFI/BOOT/BOOTX64.EFI"
APPEND_BYTES = 2048

ESP_PARTITION = 2
SECTOR_BYTES = 512
PIECE_BYTES = 1 << 20
MAX_FILE_BYTES = 8 << 20
"""Of what is read as a whole: boot loaders and menus."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the image is, with its hash; the boot loaders and the menu are here already."""

    path: str
    place: Extent
    image: BootImage
    build: str
    bios: bytes
    efi: bytes
    menu: bytes
    extras: str = ""
    """The SHA-256 of the `orlop-extras.erofs` that the image takes."""

    def files(self, append: str = "") -> Mapping[str, Content]:
        """The files of the boot partition, with the image as the one that is started."""
        folder, images = boot_files.FOLDER, boot_files.IMAGES
        identity = self.image.id
        record = BootRecord(1, identity, recovery=identity)
        found: dict[str, Content] = {EFI: self.efi, f"{folder}/grub.cfg": self.menu}
        for name, data in boot_record.first_files(record).items():
            found[f"{folder}/{name}"] = data
        if append:
            words = environment_block.render({"append": append}, APPEND_BYTES)
            found[f"{folder}/{APPEND}"] = words
        for name, data in boot_files.image_files(self.image, hexadecimal).items():
            found[f"{images}/{name}"] = data
        place = self.place
        found[f"{images}/{identity}.efi"] = Piece(
            Path(self.path), place.offset_bytes, place.size_bytes
        )
        return found


def hexadecimal(data: bytes) -> str:
    """The SHA-256 of *data* in digits."""
    return str(sha256(data).hexdigest())


def read_source(path: str, wanted_sha256: str = "") -> Source:
    """What the medium or file *path* holds; *wanted_sha256* is what the file has to have.

    Raises:
        NotFound: there is nothing there. InvalidArgument: it is something else.
        Conflict: the file is another one than it should be.
        OSError: it cannot be read.
    """
    try:
        with opened(path) as read:
            if wanted_sha256:
                size = os.stat(path).st_size
                found = hash_of(read, iso9660.Extent(0, size))
                if not size or found != wanted_sha256:
                    raise Conflict(f"{path} has the SHA-256 {found}, not {wanted_sha256}")
            return _read(path, read)
    except FileNotFoundError:
        raise NotFound(f"there is no {path} where the system runs") from None


def _read(path: str, read: Read) -> Source:
    if iso9660.read_label(read) is None:
        raise InvalidArgument(f"{path} is not an ISO of Orlop")
    place = iso9660.find(read, IMAGE)
    about = unified_image.describe(partial(within, read, place), IMAGE)
    image = BootImage(
        hash_of(read, place), about.version, about.kernel, about.initrd, about.command_line
    )
    return Source(
        path,
        place,
        image,
        about.build,
        bios_loader.from_medium(read(0, SECTOR_BYTES), _file(read, BIOS)),
        fat_reader.read_file(partial(within, read, _boot_partition(read)), EFI),
        _file(read, MENU),
        about.extras,
    )


def _boot_partition(read: Read) -> Extent:
    """The medium's EFI partition.

    Raises:
        InvalidArgument: the medium has none.
    """
    header = read(SECTOR_BYTES, SECTOR_BYTES)
    place = tables.table_place(header, SECTOR_BYTES)
    if place is None:
        raise InvalidArgument("the medium has no partition table")
    table = tables.parse_gpt(header, read(*place), SECTOR_BYTES)
    entry = table.entries[(ESP_PARTITION - 1) * table.header.entry_bytes :][:128]
    first, last = (int.from_bytes(entry[at : at + 8], "little") for at in (32, 40))
    if entry[:16] != tables.EFI_SYSTEM or not first <= last < tables.MAX_SECTORS:
        raise InvalidArgument("the medium has no EFI partition")
    return iso9660.Extent(first * SECTOR_BYTES, (last - first + 1) * SECTOR_BYTES)


def _file(read: Read, path: str) -> bytes:
    place = iso9660.find(read, path)
    if place.size_bytes > MAX_FILE_BYTES:
        raise InvalidArgument(f"{path} on the medium is too large")
    return read(place.offset_bytes, place.size_bytes)


def within(read: Read, place: Extent, offset: int, size: int) -> bytes:
    """*read* of a part: `partial(within, read, place)` reads what lies at *place*."""
    return read(place.offset_bytes + offset, max(0, min(size, place.size_bytes - offset)))


def hash_of(read: Read, place: Extent) -> str:
    """The SHA-256, in digits, of what lies at *place*.

    Raises:
        InvalidArgument: it ends before. OSError: from *read*.
    """
    found = sha256()
    for offset in range(0, place.size_bytes, PIECE_BYTES):
        want = min(PIECE_BYTES, place.size_bytes - offset)
        piece = read(place.offset_bytes + offset, want)
        if len(piece) != want:
            raise InvalidArgument("the image ends too early")
        found.update(piece)
    return str(found.hexdigest())


@contextlib.contextmanager
def opened(path: str) -> Iterator[Read]:
    """How to read the file or device *path* at any place, for as long as the context lasts."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield lambda offset, size: os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
