"""The last steps: initrd and ISO."""

import functools
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from orlop.image import boot_loader
from orlop.image.initrd import initrd_members, write_cpio
from orlop.image.iso import Boot, fill_template, make_iso
from orlop.image.root import IMAGE_FILE
from orlop.image.step import StepContext
from orlop.image.uki import FILE, block_list, profiles, sections

GRUB_MENU = "os/boot/grub.cfg"
GRUB_SEARCH = "os/boot/medium.cfg"
DISK_MENU = "os/boot/disk.cfg"


def build_initrd(context: StepContext) -> None:
    """Step ``initrd``: `/init` and the system image."""
    init = context.result("build-init") / "files/init"
    with (context.output / "initrd").open("wb") as stream:
        write_cpio(initrd_members(init, context.result("root") / IMAGE_FILE), stream)


def build_iso(context: StepContext, *, checkout: Path, command_line: str, prefix: str = "") -> None:
    """Step ``iso``: the unified kernel image with boot loaders for BIOS and UEFI.

    What UEFI starts is of the steps whose names begin with *prefix*.
    """
    image = context.result(f"{prefix}uki") / FILE
    release = json.loads((context.result("root") / "release.json").read_text())
    menu, search = checkout / GRUB_MENU, checkout / GRUB_SEARCH
    build = medium_identity(image)
    words = menu_words(image, command_line, release["version"])
    boot = Boot(
        image=image,
        bios=context.result("loader") / boot_loader.BIOS_FILE,
        efi=context.result(f"{prefix}loader") / boot_loader.EFI_FILE,
        menu=fill_template(menu.read_text(), words, menu),
        search=fill_template(search.read_text(), {"BUILD": build}, search),
        disk_menu=checkout / DISK_MENU,
        build=build,
    )
    # The tools want to be told through the environment, which `run` of the context does.
    run = functools.partial(_run, context)
    make_iso(boot, context.output / "orlop.iso", context.scratch, run, epoch=context.epoch)


def menu_words(image: Path, command_line: str, version: str) -> dict[str, str]:
    """What the builder puts into the boot menu for the unified kernel image at *image*."""
    places = sections(image)
    words = {"KERNEL": block_list(places[".linux"]), "INITRD": block_list(places[".initrd"])}
    for profile in profiles(command_line, version):
        words[profile.name.upper()] = profile.command_line
        words[f"{profile.name.upper()}_TITLE"] = profile.title
    return words


def _run(context: StepContext, command: Sequence[str | os.PathLike[str]]) -> None:
    context.run(command)


def medium_identity(image: Path) -> str:
    """16 hexadecimal digits that tell this medium from any other that is plugged in."""
    with image.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
