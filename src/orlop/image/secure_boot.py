"""Secure Boot with the owner's keys: what is signed, and the program that is started first.

A signed build differs in two files: the unified kernel image has a signature, and so have the boot
loader for UEFI (`orlop.image.gate`) and the GRUB in it. Everything else is as it was.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from orlop.image.boot_loader import EFI_FILE, GRUB_FILE
from orlop.image.gate import GATE, PACK_TOOLS, Run, put_into_gate
from orlop.image.step import StepContext
from orlop.lib.errors import NotFound

TOOLS = (*PACK_TOOLS, "sbsigntool")


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


def sign(program: Path, keys: Keys, run: Run) -> None:
    """Sign the EFI program *program* in place."""
    signed = program.with_name(f"{program.name}.signed")
    run(["sbsign", "--key", keys.key, "--cert", keys.certificate, "--output", signed, program])
    signed.rename(program)


def seal_loader(context: StepContext, *, keys: Keys) -> None:
    """Step ``signed-loader``: the signed gate with the signed GRUB in it, called as GRUB was."""
    grub = context.scratch / GRUB_FILE
    shutil.copyfile(context.result("loader") / GRUB_FILE, grub)
    sign(grub, keys, context.run)
    gate, output = context.result("gate") / GATE, context.output / EFI_FILE
    put_into_gate(grub, gate, output, context.run, signing_arguments(keys))


def signing_arguments(keys: Keys) -> tuple[str, ...]:
    """What makes ukify sign its result."""
    return (
        *("--signtool", "sbsign", "--secureboot-private-key", str(keys.key)),
        *("--secureboot-certificate", str(keys.certificate)),
    )
