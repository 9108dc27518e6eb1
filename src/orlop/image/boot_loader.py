"""The boot loader: GRUB, once for a BIOS and once for UEFI, for the ISO and for installed disks.

Put together with the few modules that the menus need. What is built in is a script that finds the
menu on what the loader came from (os/boot/loader.cfg), nothing of this build: so the loader of a
machine that is installed is the one of the next release too, byte by byte, until GRUB changes.
"""

from collections.abc import Sequence
from pathlib import Path

from orlop.image.gate import GATE, PACK_TOOLS, put_into_gate
from orlop.image.step import StepContext
from orlop.lib.bios_loader import normal_code

BIOS_FILE, EFI_FILE = "loader-bios.img", "loader-x64.efi"
GRUB_FILE = "grub-x64.efi"
"""GRUB itself, for whoever signs it before it is packed."""
BIOS_FOLDER = Path("/usr/lib/grub/i386-pc")
SCRIPT = "os/boot/loader.cfg"
PREFIX = "/orlop"
TOOLS = ("grub-common", "grub-efi-amd64-bin", "grub-pc-bin", *PACK_TOOLS)

# What the menus use (os/boot/*.cfg), what media and disks are made of, and nothing else. `halt` and
# `search` for UEFI would be 44 KB.
COMMON_MODULES = (
    *("configfile", "normal", "minicmd", "echo", "test", "eval", "sleep", "reboot"),
    *("iso9660", "fat", "part_gpt", "search_fs_file", "serial", "terminal"),
    *("loadenv", "hashsum", "gcry_sha256"),
)
BIOS_MODULES = (*COMMON_MODULES, "biosdisk", "linux", "loopback")
# Without `linux`: what it loads is not shown to the firmware, which checks signatures.
EFI_MODULES = (*COMMON_MODULES, "chain", "efifwsetup")


def build_loader(context: StepContext, *, checkout: Path) -> None:
    """Step ``loader``: `loader-bios.img` (see `orlop.lib.bios_loader`) and `loader-x64.efi`, which
    is GRUB in the gate."""
    script, core = context.scratch / "loader.cfg", context.scratch / "core.img"
    script.write_text(without_comments((checkout / SCRIPT).read_text()))
    context.run(grub_command("i386-pc", BIOS_MODULES, script, core))
    grub = context.output / GRUB_FILE
    context.run(grub_command("x86_64-efi", EFI_MODULES, script, grub))
    put_into_gate(grub, context.result("gate") / GATE, context.output / EFI_FILE, context.run)
    code = (BIOS_FOLDER / "boot_hybrid.img").read_bytes()
    (context.output / BIOS_FILE).write_bytes(normal_code(code) + core.read_bytes())


def grub_command(target: str, modules: Sequence[str], script: Path, output: Path) -> list[str]:
    """How to make the boot loader for *target*; *script* runs first and finds the menu."""
    return [
        *("grub-mkimage", "--format", target, "--output", str(output)),
        *("--config", str(script), "--prefix", PREFIX, *modules),
    ]


def without_comments(script: str) -> str:
    """*script* for GRUB's rescue parser, to which `#` is a command that does not exist."""
    lines = script.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))
