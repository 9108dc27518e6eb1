"""Make a disk with an installed system, as a file: what `orlop install` does to a disk.

Everything comes from an ISO of Orlop, as it does on a machine, and is written by the same code. The
file is sparse. The same ISO, configuration and sizes give the same bytes, GUIDs included, unless a
seed tells two disks apart.
"""

import hashlib
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orlop.image import extras
from orlop.lib import bios_loader, boot_files, fat32, medium
from orlop.lib.disk_layout import ESP_LABEL, STATE_LABEL, DiskLayout, plan_disk
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.lib.partition_table import Write, make_table

SECTOR_BYTES = (512, 4096)
"""What disks have."""

CONFIGURATION = "lib/orlop/conf.d/50-image.yml"
"""On the state partition, which is /var."""
DIRECTORIES = {"lib": 0o755, "lib/orlop": 0o755, "lib/orlop/conf.d": 0o700}

EXTRAS_DIGITS = 16
EROFS_HEAD_BYTES = 2048
_EROFS_MAGIC, _EROFS_LABEL = slice(1024, 1028), slice(1088, 1104)
"""Of the superblock. Source: Linux 6.12, fs/erofs/erofs_fs.h."""

type Run = Callable[[Sequence[str | os.PathLike[str]], Mapping[str, str]], object]


class Format(StrEnum):
    """What hypervisors and clouds take."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VHD = "vhd"


CONVERSIONS = {
    Format.QCOW2: ("-O", "qcow2"),
    Format.VMDK: ("-O", "vmdk", "-o", "adapter_type=lsilogic,subformat=monolithicSparse"),
    # Without force_size the size is rounded to what cylinders of an old disk would have.
    Format.VHD: ("-O", "vpc", "-o", "subformat=dynamic,force_size=on"),
}
"""Arguments of `qemu-img convert`."""


@dataclass(frozen=True, slots=True)
class DiskImage:
    """What is made of the ISO *iso*: a disk of *size_bytes*; *esp_bytes* None is the default.

    With sectors of 4,096 bytes it is one that UEFI alone starts.

    *configuration* has been checked; *append* are kernel parameters for every start. *extras* is
    `orlop-extras.erofs` of the same build, for the boot partition.
    """

    iso: Path
    size_bytes: int
    esp_bytes: int | None = None
    configuration: bytes | None = None
    append: str = ""
    seed: str = ""
    extras: Path | None = None
    sector_bytes: int = SECTOR_BYTES[0]


def make_disk(wanted: DiskImage, output: Path, scratch: Path, run: Run, *, epoch: int) -> None:
    """Write the raw image to *output*, with all dates at *epoch*; *scratch* is an empty folder.

    *run* runs a command with more variables in its environment.

    Raises:
        InvalidArgument: the sizes are not possible, or the ISO or the extras are none of Orlop.
        NotFound: there is no such ISO, or no such extras.
        ResourceExhausted: the boot partition is too small for what is to be in it.
    """
    source = medium.read_source(str(wanted.iso))
    layout = plan_disk(wanted.size_bytes, wanted.sector_bytes, wanted.esp_bytes)
    guids = _Guids(wanted, source.image.sha256)
    with output.open("w+b") as disk:
        disk.truncate(wanted.size_bytes)

        def write(offset: int, data: bytes) -> None:
            disk.seek(layout.esp.start_bytes + offset)
            disk.write(data)

        fat32.make_fat32(
            write,
            layout.esp.size_bytes,
            ESP_LABEL,
            {**_extras(wanted.extras), **source.files(wanted.append)},
            epoch=epoch,
            volume_id=int.from_bytes(guids.next()[:4], "little"),
            hidden_sectors=layout.esp.start_bytes // wanted.sector_bytes,
            sector_bytes=wanted.sector_bytes,
        )
        for piece in _outside(layout, source, wanted, guids):
            disk.seek(piece.offset_bytes)
            disk.write(piece.data)
    _make_state(layout, wanted, output, scratch, run, guids, epoch)


def _extras(path: Path | None) -> dict[str, fat32.Piece]:
    """The file, under the name by which `orlop.system.storage.extras_media` finds it."""
    if path is None:
        return {}
    try:
        with path.open("rb") as stream:
            head = stream.read(EROFS_HEAD_BYTES)
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise NotFound(f"cannot read {path}: {error.strerror}") from None
    label = head[_EROFS_LABEL].rstrip(b"\0").decode(errors="replace")
    if head[_EROFS_MAGIC] != b"\xe2\xe1\xf5\xe0" or label != extras.LABEL:
        raise InvalidArgument(f"{path} is no {extras.IMAGE_FILE}")
    name = f"{boot_files.FOLDER}/extras-{digest[:EXTRAS_DIGITS]}.erofs"
    return {name: fat32.Piece(path, 0, path.stat().st_size)}


def convert(raw: Path, output: Path, kind: Format, run: Run) -> None:
    """Write the disk *raw* to *output* in another format."""
    run(["qemu-img", "convert", "-f", "raw", *CONVERSIONS[kind], str(raw), str(output)], {})


class _Guids:
    """Numbers that nobody else has, yet the same for the same disk."""

    def __init__(self, wanted: DiskImage, image: str) -> None:
        self._text = (
            f"{image} {wanted.size_bytes} {wanted.esp_bytes} {wanted.append} {wanted.seed} "
        )
        self._text += hashlib.sha256(wanted.configuration or b"").hexdigest()
        self._count = 0

    def next(self) -> bytes:
        self._count += 1
        return hashlib.sha256(f"{self._text} {self._count}".encode()).digest()[:16]

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=self.next(), version=4))


def _outside(
    layout: DiskLayout, source: medium.Source, wanted: DiskImage, guids: _Guids
) -> list[Write]:
    """What lies in no file system: GRUB for a BIOS, and the partition table."""
    bios, sector = layout.bios, wanted.sector_bytes
    placed = bios_loader.place(source.bios, bios.start_bytes, bios.size_bytes, sector)
    numbers = b"".join(guids.next() for _ in range(len(layout.partitions) + 1))
    table = make_table(layout.partitions, wanted.size_bytes, sector, numbers, placed.boot_code)
    return [Write(bios.start_bytes, placed.core), *table]


def _make_state(
    layout: DiskLayout,
    wanted: DiskImage,
    output: Path,
    scratch: Path,
    run: Run,
    guids: _Guids,
    epoch: int,
) -> None:
    folder = scratch / "state"
    folder.mkdir()
    for name, mode in DIRECTORIES.items():
        (folder / name).mkdir(mode)
    if wanted.configuration is not None:
        target = folder / CONFIGURATION
        target.write_bytes(wanted.configuration)
        target.chmod(0o600)
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (epoch, epoch))
    state = layout.state
    run(
        [
            *("mkfs.ext4", "-q", "-F", "-L", STATE_LABEL, "-U", guids.uuid(), "-d", str(folder)),
            # A block must not be smaller than a sector; of a small disk it would be.
            *(("-b", str(wanted.sector_bytes)) if wanted.sector_bytes > SECTOR_BYTES[0] else ()),
            *(
                "-E",
                f"offset={state.start_bytes},hash_seed={guids.uuid()},lazy_itable_init=1,lazy_journal_init=1",
            ),
            *(str(output), f"{state.size_bytes // 1024}k"),
        ],
        {"SOURCE_DATE_EPOCH": str(epoch), "E2FSPROGS_FAKE_TIME": str(epoch)},
    )
