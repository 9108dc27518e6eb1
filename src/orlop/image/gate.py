"""The gate: the EFI program that GRUB is packed into (os/boot/gate.c).

GRUB's image for UEFI is 630 KB as it is, and 205 KB deflated. Firmware starts programs as they are,
so a small one unpacks it; the same program answers GRUB's question under Secure Boot.
"""

import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from orlop.image.step import StepContext

GATE = "gate.efi"
PROGRAM_SOURCES = ("os/boot/gate.c", "os/boot/inflate.c")
LINK_SCRIPT = "os/boot/gate.ld"
GATE_SOURCES = (*PROGRAM_SOURCES, "os/boot/inflate.h", LINK_SCRIPT)
GATE_TOOLS = ("binutils", "gcc-14")
PACK_TOOLS = ("python3-pefile", "systemd-ukify")

_COMPILE = (
    *("gcc-14", "-std=c17", "-Wall", "-Wextra", "-Werror", "-O2", "-ffreestanding", "-fpie"),
    *("-fvisibility=hidden", "-fno-stack-protector", "-fcf-protection=none"),
    # There is no memset that a loop could be made of.
    *("-fno-asynchronous-unwind-tables", "-fno-tree-loop-distribute-patterns"),
    *("-mno-red-zone", "-mgeneral-regs-only", "-c"),
)
_LINK = ("ld", "-nostdlib", "--fatal-warnings", "-e", "efi_main")
_CONVERT = (
    *("objcopy", "--output-target", "efi-app-x86_64", "--file-alignment", "512"),
    *("--section-alignment", "4096", "-j", ".text", "-j", ".rodata", "-j", ".data", "-j", ".reloc"),
)
_SIZE_BYTES = 4
_RAW_DEFLATE = -15

type Run = Callable[[Sequence[str | os.PathLike[str]]], None]


def build_gate(context: StepContext, *, checkout: Path) -> None:
    """Step ``gate``: compile it, with nothing in it yet."""
    compiled = []
    for source in PROGRAM_SOURCES:
        compiled.append(context.scratch / Path(source).with_suffix(".o").name)
        context.run([*_COMPILE, "-o", compiled[-1], checkout / source])
    linked = context.scratch / "gate.elf"
    context.run([*_LINK, "-T", checkout / LINK_SCRIPT, "-o", linked, *compiled])
    context.run([*_CONVERT, linked, context.output / GATE])


def pack(program: bytes) -> bytes:
    """*program* as the gate's section `.grub` holds it."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, _RAW_DEFLATE, 9)
    return (
        len(program).to_bytes(_SIZE_BYTES, "little") + deflate.compress(program) + deflate.flush()
    )


def put_into_gate(
    program: Path, gate: Path, output: Path, run: Run, signing: Sequence[str] = ()
) -> None:
    """Make *output*: *gate* with *program* in it; *signing* are more arguments of ukify."""
    packed = output.with_name(f"{output.name}.packed")
    packed.write_bytes(pack(program.read_bytes()))
    run(
        [
            *("ukify", "build", "--stub", str(gate), "--section", f".grub:@{packed}"),
            *("--output", str(output), *signing),
        ]
    )
    packed.unlink()
