"""What lies beside an image on the boot partition, so that GRUB can check and start it.

`ID.env` has what GRUB has to know, as data: a damaged one cannot make it execute anything. `ID.sum`
has the hashes of that file and of the image, for GRUB's hashsum. Read by os/boot/disk.cfg.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib import boot_record, environment_block
from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = "orlop"
"""On the boot partition: the menu, and the boot records."""
IMAGES = f"{FOLDER}/images"
ENV_BYTES = 4096
APPEND = "append.env"
"""In `FOLDER`: kernel parameters that the menu adds, a GRUB environment block."""


@dataclass(frozen=True, slots=True)
class BootImage:
    """A unified kernel image as the boot loader sees it.

    kernel, initrd: where they are in it, as (first sector, number of sectors) of 512 bytes.
    command_line: that of the image. On UEFI the image uses its own; on BIOS, and for an entry of
    the menu that adds words, this one counts.
    """

    sha256: str
    version: str
    kernel: tuple[int, int]
    initrd: tuple[int, int]
    command_line: str

    @property
    def id(self) -> str:
        return boot_record.image_id(self.sha256)


def image_files(image: BootImage, sha256: Callable[[bytes], str]) -> dict[str, bytes]:
    """Names and contents of the files beside `ID.efi`, in `IMAGES`. *sha256* returns digits.

    PID 1 has no hashlib, and gives that of `_sha2`.

    Raises:
        InvalidArgument: GRUB could not read them.
    """
    if not boot_record.is_image_id(image.id):
        raise InvalidArgument(f"not a SHA-256 in hexadecimal digits: {image.sha256}")
    words = {
        "version": image.version,
        "kernel": _block_list(image.kernel),
        "initrd": _block_list(image.initrd),
        "words": image.command_line,
    }
    if "\n" in "".join(words.values()):
        raise InvalidArgument("a version or a command line has a line break")
    env = environment_block.render(words, ENV_BYTES)
    sums = f"{sha256(env)}  /{IMAGES}/{image.id}.env\n{image.sha256}  /{IMAGES}/{image.id}.efi\n"
    return {f"{image.id}.env": env, f"{image.id}.sum": sums.encode("ascii")}


def names_of(identity: str) -> tuple[str, ...]:
    """The files of an image in `IMAGES`: the image first."""
    return tuple(f"{identity}.{kind}" for kind in ("efi", "env", "sum"))


def _block_list(extent: tuple[int, int]) -> str:
    first, count = extent
    if first < 0 or count <= 0:
        raise InvalidArgument(f"not a place in an image: {extent}")
    return f"{first}+{count}"
