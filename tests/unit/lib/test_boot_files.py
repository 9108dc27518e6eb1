"""Files beside an image: coreutils checks the sums as GRUB does."""

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from orlop.lib import environment_block
from orlop.lib.boot_files import IMAGES, BootImage, image_files, names_of
from orlop.lib.errors import InvalidArgument

DATA = b"not really an image"
IMAGE = BootImage(
    hashlib.sha256(DATA).hexdigest(), "1.2.3", (16, 9000), (9016, 20000), "quiet console=tty0"
)


def digits(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_sums_are_right(tmp_path: Path) -> None:
    folder = tmp_path / IMAGES
    folder.mkdir(parents=True)
    files = {f"{IMAGE.id}.efi": DATA, **image_files(IMAGE, digits)}
    assert tuple(files) == names_of(IMAGE.id)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sums = files[f"{IMAGE.id}.sum"].decode().replace(" /", f" {tmp_path}/")
    subprocess.run(["sha256sum", "--check", "--strict"], input=sums, text=True, check=True)


def test_grub_is_told_what_it_needs() -> None:
    assert environment_block.parse(image_files(IMAGE, digits)[f"{IMAGE.id}.env"]) == {
        "version": "1.2.3",
        "kernel": "16+9000",
        "initrd": "9016+20000",
        "words": "quiet console=tty0",
    }


def test_what_grub_cannot_read_is_refused() -> None:
    for wrong in (
        replace(IMAGE, command_line="a\nb"),
        replace(IMAGE, command_line="a" * 5000),
        replace(IMAGE, version="é"),
        replace(IMAGE, sha256="../../etc/passwd"),
        replace(IMAGE, kernel=(0, 0)),
    ):
        with pytest.raises(InvalidArgument):
            image_files(wrong, digits)
