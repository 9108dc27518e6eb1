"""The last steps: initrd and ISO."""

import functools
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from orlop.image.initrd import initrd_members, write_cpio
from orlop.image.iso import Boot, fill_template, make_iso
from orlop.image.root import IMAGE_FILE
from orlop.image.step import StepContext

GRUB_MENU = "os/boot/grub.cfg"
GRUB_SEARCH = "os/boot/search.cfg"
QUIET_WORDS = ("quiet", "loglevel=")
"""What the menu's entry for debugging leaves out of the command line."""


def build_initrd(context: StepContext) -> None:
    """Step ``initrd``: `/init` and the system image."""
    init = context.result("build-init") / "files/init"
    with (context.output / "initrd").open("wb") as stream:
        write_cpio(initrd_members(init, context.result("root") / IMAGE_FILE), stream)


def build_iso(context: StepContext, *, checkout: Path, command_line: str) -> None:
    """Step ``iso``: kernel and initrd with boot loaders for BIOS and UEFI."""
    kernel, initrd = context.result("kernel") / "vmlinuz", context.result("initrd") / "initrd"
    release = json.loads((context.result("root") / "release.json").read_text())
    menu, search = checkout / GRUB_MENU, checkout / GRUB_SEARCH
    build = medium_identity(kernel, initrd, command_line)
    words = {
        "VERSION": release["version"],
        "COMMAND_LINE": command_line,
        "DEBUG_COMMAND_LINE": debug_command_line(command_line),
    }
    boot = Boot(
        kernel,
        initrd,
        fill_template(menu.read_text(), words, menu),
        without_comments(fill_template(search.read_text(), {"BUILD": build}, search)),
        build,
    )
    # The tools want to be told through the environment, which `run` of the context does.
    run = functools.partial(_run, context)
    make_iso(boot, context.output / "orlop.iso", context.scratch, run, epoch=context.epoch)


def _run(context: StepContext, command: Sequence[str | os.PathLike[str]]) -> None:
    context.run(command)


def medium_identity(kernel: Path, initrd: Path, command_line: str) -> str:
    """16 hexadecimal digits that tell this medium from any other that is plugged in."""
    digest = hashlib.sha256(command_line.encode())
    for path in (kernel, initrd):
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def without_comments(script: str) -> str:
    """*script* for GRUB's rescue parser, to which `#` is a command that does not exist."""
    lines = script.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))


def debug_command_line(command_line: str) -> str:
    """*command_line* without what keeps the kernel quiet."""
    words = [word for word in command_line.split() if not word.startswith(QUIET_WORDS)]
    return " ".join(words)
