"""Make the ISO: one file that boots as a CD and as a USB stick, on BIOS and on UEFI.

GRUB is put together with the few modules it needs, once per firmware. Both copies find the medium
by a file named after the build, read one menu from it and start one unified kernel image: nothing
large is there twice. The EFI boot loader sits in a small FAT file system which the El Torito
catalogue (CD) and the partition table (stick) both point at.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from orlop.lib.errors import InvalidArgument

LABEL = "ORLOP"
ESP_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
"""GPT partition type of an EFI system partition (UEFI specification, 5.3.3)."""

type Run = Callable[[Sequence[str | os.PathLike[str]]], None]

# What the menu uses (os/boot/grub.cfg), what the medium is made of, and nothing else.
COMMON_MODULES = (
    *("configfile", "normal", "minicmd", "echo", "test"),
    *("iso9660", "part_msdos", "part_gpt", "search", "search_fs_file"),
    *("serial", "terminal", "reboot", "halt", "sleep"),
)
BIOS_MODULES = (*COMMON_MODULES, "biosdisk", "linux", "loopback")
# Without `linux`: what it loads is not shown to the firmware, which checks signatures.
EFI_MODULES = (*COMMON_MODULES, "chain", "fat", "efifwsetup")

_SECTOR_BYTES = 512
_CLUSTER_BYTES = 2048
# Boot sector, allocation tables, root directory, two directories: with some room to spare.
_FAT_OVERHEAD_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Boot:
    """What goes on the medium. `build` is unique to these contents: hexadecimal, 16 digits."""

    image: Path
    menu: str
    search: str
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
    bios, loader, esp = scratch / "bios.img", scratch / "bootx64.efi", scratch / "esp.img"
    search.write_text(boot.search)
    menu.write_text(boot.menu)
    mark.write_text(boot.build + "\n")
    run(grub_command("i386-pc-eltorito", BIOS_MODULES, search, bios))
    run(grub_command("x86_64-efi", EFI_MODULES, search, loader))
    for command in esp_commands(loader, esp, boot.build):
        os.utime(loader, (epoch, epoch))
        run(command)
    contents = {
        "/boot/bios.img": bios,
        "/boot/grub/grub.cfg": menu,
        f"/boot/{boot.build}.id": mark,
        "/boot/orlop.efi": boot.image,
    }
    run(xorriso_command(contents, esp, output, epoch=epoch))


def grub_command(target: str, modules: Sequence[str], config: Path, output: Path) -> list[str]:
    """How to make the boot loader for *target*; *config* runs first and finds the medium."""
    return [
        *("grub-mkimage", "--format", target, "--output", str(output)),
        *("--config", str(config), "--prefix", "/boot/grub", *modules),
    ]


def esp_commands(loader: Path, output: Path, build: str) -> list[list[str]]:
    """How to make the FAT file system with *loader* in it, as small as it can be."""
    clusters = -(-loader.stat().st_size // _CLUSTER_BYTES)
    sectors = (clusters * _CLUSTER_BYTES + _FAT_OVERHEAD_BYTES) // _SECTOR_BYTES
    per_cluster = _CLUSTER_BYTES // _SECTOR_BYTES
    sectors += -sectors % per_cluster
    return [
        [
            *("mformat", "-i", str(output), "-C", "-T", str(sectors), "-h", "1", "-s", "1"),
            *("-c", str(per_cluster), "-r", "1", "-L", "4", "-N", build[:8], "-v", LABEL, "::"),
        ],
        ["mmd", "-i", str(output), "::/EFI", "::/EFI/BOOT"],
        ["mcopy", "-m", "-i", str(output), str(loader), "::/EFI/BOOT/BOOTX64.EFI"],
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
