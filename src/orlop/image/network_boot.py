"""The script by which iPXE starts a build from the network, on BIOS and UEFI.

It names no server: iPXE finds `vmlinuz` and `initrd` where the script came from.
"""

import json
from pathlib import Path

from orlop.image.iso import fill_template
from orlop.image.step import StepContext

FILE = "orlop.ipxe"
SCRIPT = "os/boot/network.ipxe"


def build_script(context: StepContext, *, checkout: Path, command_line: str) -> None:
    """Step ``network-boot``: make `orlop.ipxe` with the kernel's default *command_line*."""
    release = json.loads((context.result("root") / "release.json").read_text())
    source = checkout / SCRIPT
    words = {"VERSION": release["version"], "COMMAND_LINE": command_line}
    (context.output / FILE).write_text(fill_template(source.read_text(), words, source))
