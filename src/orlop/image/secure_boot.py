"""Secure Boot with the owner's keys: what is signed, and the program that is started first.

A signed build differs in two files: the unified kernel image has a signature, and the boot loader
for UEFI is the gate (os/boot/gate.c) with a signed GRUB in it. Everything else is as it was.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orlop.image.boot_loader import EFI_FILE
from orlop.image.step import StepContext
from orlop.lib.errors import NotFound

GATE = "gate.efi"
GATE_SOURCES = ("os/boot/gate.c", "os/boot/gate.ld")
GATE_TOOLS = ("binutils", "gcc-14")
TOOLS = ("python3-pefile", "sbsigntool", "systemd-ukify")

_COMPILE = (
    *("gcc-14", "-std=c17", "-Wall", "-Wextra", "-Werror", "-O2", "-ffreestanding", "-fpie"),
    *("-fvisibility=hidden", "-fno-stack-protector", "-fcf-protection=none"),
    *("-fno-asynchronous-unwind-tables", "-mno-red-zone", "-mgeneral-regs-only", "-c"),
)
_LINK = ("ld", "-nostdlib", "--fatal-warnings", "-e", "efi_main")
_CONVERT = (
    *("objcopy", "--output-target", "efi-app-x86_64", "--file-alignment", "512"),
    *("--section-alignment", "4096", "-j", ".text", "-j", ".rodata", "-j", ".data", "-j", ".reloc"),
)

type Run = Callable[[Sequence[str | os.PathLike[str]]], None]


@dataclass(frozen=True, slots=True)
class Keys:
    """The folder that `./orlop keys new` made: of it a build needs `db` and `pcr`."""

    folder: Path

    @property
    def key(self) -> Path:
        """Signs what the firmware starts."""
        return self.folder / "db.key"

    @property
    def certificate(self) -> Path:
        return self.folder / "db.crt"

    @property
    def policy_key(self) -> Path:
        """Signs what a TPM must have measured before it gives out a secret."""
        return self.folder / "pcr.key"

    @property
    def policy_public_key(self) -> Path:
        return self.folder / "pcr.pub"

    @property
    def public(self) -> tuple[Path, ...]:
        """What tells these keys from others, without the secret parts."""
        return (self.certificate, self.policy_public_key)


def read_keys(folder: Path) -> Keys:
    """The keys in *folder*.

    Raises:
        NotFound: one of those that sign is missing.
    """
    keys = Keys(folder.absolute())
    for path in (keys.key, keys.policy_key, *keys.public):
        if not path.is_file():
            raise NotFound(f"there is no {path}", hint=f"./orlop keys new {folder}")
    return keys


def build_gate(context: StepContext, *, checkout: Path) -> None:
    """Step ``gate``: compile the program that answers for what GRUB starts."""
    source, script = (checkout / path for path in GATE_SOURCES)
    compiled, linked = context.scratch / "gate.o", context.scratch / "gate.elf"
    context.run([*_COMPILE, "-o", compiled, source])
    context.run([*_LINK, "-T", script, "-o", linked, compiled])
    context.run([*_CONVERT, linked, context.output / GATE])


def sign(program: Path, keys: Keys, run: Run) -> None:
    """Sign the EFI program *program* in place."""
    signed = program.with_name(f"{program.name}.signed")
    run(["sbsign", "--key", keys.key, "--cert", keys.certificate, "--output", signed, program])
    signed.rename(program)


def seal_loader(context: StepContext, *, keys: Keys) -> None:
    """Step ``signed-loader``: the signed gate with the signed GRUB in it, called as GRUB was."""
    grub = context.scratch / EFI_FILE
    shutil.copyfile(context.result("loader") / EFI_FILE, grub)
    seal(grub, context.result("gate") / GATE, context.output / EFI_FILE, keys, context.run)


def seal(grub: Path, gate: Path, output: Path, keys: Keys, run: Run) -> None:
    """Sign *grub*, put it into *gate*, and sign that: *output*."""
    sign(grub, keys, run)
    run(
        [
            *("ukify", "build", "--stub", str(gate), "--section", f".grub:@{grub}"),
            *("--output", str(output), *signing_arguments(keys)),
        ]
    )


def signing_arguments(keys: Keys) -> tuple[str, ...]:
    """What makes ukify sign its result."""
    return (
        *("--signtool", "sbsign", "--secureboot-private-key", str(keys.key)),
        *("--secureboot-certificate", str(keys.certificate)),
    )
