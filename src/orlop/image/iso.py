"""Make the ISO: one file that boots as a CD and as a USB stick, on BIOS and on UEFI.

GRUB (`boot_loader`) reads one menu from it and starts one unified kernel image: nothing large is
there twice. The EFI boot loader sits in a small FAT file system which the El Torito catalogue (CD)
and the partition table (stick) both point at; the menu there finds the medium by a file named after
the build. What an installer puts on a disk is here too: boot loaders, image and the disk's menu.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from orlop.image.boot_loader import BIOS_FOLDER
from orlop.lib import bios_loader
from orlop.lib.errors import InvalidArgument

LABEL = "ORLOP"
ESP_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
"""GPT partition type of an EFI system partition (UEFI specification, 5.3.3)."""

type Run = Callable[[Sequence[str | os.PathLike[str]]], None]

_SECTOR_BYTES = 512
_CLUSTER_BYTES = 2048
# Boot sector, allocation tables, root directory, two directories: with some room to spare.
_FAT_OVERHEAD_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Boot:
    """What goes on the medium. `build` is unique to these contents: hexadecimal, 16 digits.

    image: the unified kernel image. bios, efi: the boot loaders (`boot_loader`). menu: of the
    medium. search: finds it, from the EFI partition. disk_menu: of a disk, for an installer.
    """

    image: Path
    bios: Path
    efi: Path
    menu: str
    search: str
    disk_menu: Path
    build: str


def fill_template(text: str, words: Mapping[str, str], source: Path) -> str:
    """Replace each ``@WORD@`` in *text*.

    Raises:
        InvalidArgument: a word is not in the text, or one in the text has no value.
    """
    for word, value in words.items():
        if f"@{word}@" not in text:
            raise InvalidArgument(f"{source}: @{word}@ is not used")
        text = text.replace(f"@{word}@", value)
    for number, line in enumerate(text.splitlines(), 1):
        left = line.partition("#")[0].split("@")
        if len(left) > 2:
            raise InvalidArgument(f"{source}:{number}: nothing to put for @{left[1]}@")
    return text


def make_iso(boot: Boot, output: Path, scratch: Path, run: Run, *, epoch: int) -> None:
    """Write the ISO to *output*, with all dates at *epoch*; *scratch* is an empty folder.

    *run* runs a command with SOURCE_DATE_EPOCH set to *epoch*, and raises when it fails.
    """
    search, menu, mark = scratch / "search.cfg", scratch / "grub.cfg", scratch / "build.id"
    bios, esp = scratch / "bios.img", scratch / "esp.img"
    search.write_text(boot.search)
    menu.write_text(boot.menu)
    mark.write_text(boot.build + "\n")
    core = boot.bios.read_bytes()[bios_loader.SECTOR_BYTES :]
    bios.write_bytes((BIOS_FOLDER / "cdboot.img").read_bytes() + core)
    loader = shutil.copyfile(boot.efi, scratch / "bootx64.efi")
    files = {"EFI/BOOT/BOOTX64.EFI": loader, "orlop/grub.cfg": search}
    for path in files.values():
        os.utime(path, (epoch, epoch))
    for command in esp_commands(files, esp, boot.build):
        run(command)
    contents = {
        "/boot/bios.img": bios,
        f"/boot/{boot.build}.id": mark,
        "/boot/orlop.efi": boot.image,
        "/orlop/grub.cfg": menu,
        "/orlop/disk.cfg": boot.disk_menu,
    }
    run(xorriso_command(contents, esp, output, epoch=epoch))


def esp_commands(files: Mapping[str, Path], output: Path, build: str) -> list[list[str]]:
    """How to make the FAT file system with *files* in it, as small as it can be."""
    clusters = sum(-(-path.stat().st_size // _CLUSTER_BYTES) for path in files.values())
    sectors = (clusters * _CLUSTER_BYTES + _FAT_OVERHEAD_BYTES) // _SECTOR_BYTES
    per_cluster = _CLUSTER_BYTES // _SECTOR_BYTES
    sectors += -sectors % per_cluster
    folders = {parent for name in files for parent in PurePosixPath(name).parents}
    folders.discard(PurePosixPath())
    return [
        [
            *("mformat", "-i", str(output), "-C", "-T", str(sectors), "-h", "1", "-s", "1"),
            *("-c", str(per_cluster), "-r", "1", "-L", "4", "-N", build[:8], "-v", LABEL, "::"),
        ],
        ["mmd", "-i", str(output), *(f"::/{folder}" for folder in sorted(folders))],
        *(
            ["mcopy", "-m", "-i", str(output), str(path), f"::/{name}"]
            for name, path in files.items()
        ),
    ]


def xorriso_command(
    contents: Mapping[str, Path], esp: Path, output: Path, *, epoch: int
) -> list[str]:
    """How to make the ISO: *contents* maps paths on it to files here.

    The stick has a GPT: UEFI firmware that finds none takes the stick for a CD and its partition
    for nothing (EDK2, PartitionDxe: GPT, then El Torito, then MBR). Its protective MBR has an
    active entry, since some BIOSes start nothing else. Partition 1 is the ISO, 2 the EFI boot
    loader's. The GUIDs follow from the modification date.
    """
    moment = datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%d%H%M%S00")
    return [
        *("xorriso", "-as", "mkisofs", "-quiet", "-graft-points", "-o", str(output)),
        *("-V", LABEL, "-A", "", "-publisher", "", "-p", "", "-R", "-r", "-no-pad"),
        *(f"--modification-date={moment}", "--set_all_file_dates", moment),
        *("--grub2-mbr", "/usr/lib/grub/i386-pc/boot_hybrid.img", "--mbr-force-bootable"),
        *("-partition_offset", "16"),
        *("-append_partition", "2", ESP_TYPE, str(esp), "-appended_part_as_gpt"),
        *("-b", "boot/bios.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"),
        *("--grub2-boot-info", "-c", "boot/boot.cat", "-eltorito-alt-boot"),
        *("-e", "--interval:appended_partition_2:all::", "-no-emul-boot"),
        *(f"{path}={source}" for path, source in sorted(contents.items())),
    ]
