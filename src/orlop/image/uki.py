"""The unified kernel image: command line, kernel and initrd as one EFI program, `orlop.efi`.

systemd's stub starts what is in it on UEFI. On BIOS, GRUB reads kernel and initrd out of it by
their sectors (`sections`), so that neither is anywhere twice. Each entry of the boot menu is a
profile, chosen by `@NUMBER` at the beginning of the load options: the command line of a profile is
in the file, and so under its signature.

Sources: UAPI.5 (unified kernel images), systemd-stub(7), ukify(1), PE Format (Microsoft).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orlop.image.pcr_policy import sign_policies
from orlop.image.root import EXTRAS_RECORD
from orlop.image.secure_boot import Keys, signing_arguments
from orlop.image.step import StepContext
from orlop.lib.unified_image import EXTRAS_WORD, HEAD_BYTES, parse_sections

FILE = "orlop.efi"
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
PROFILE_STUB = "/usr/lib/systemd/boot/efi/addonx64.efi.stub"
UNSEALING = 2
"""How many profiles, from the first, may have secrets that are sealed to the policy key: not
recovery, whose shell may be open to whoever sits at the console."""
QUIET_WORDS = ("quiet", "loglevel=")
"""What the profile for debugging leaves out of the command line."""


@dataclass(frozen=True, slots=True)
class Profile:
    """An entry of the boot menu; its place in `profiles` is the number that chooses it."""

    name: str
    title: str
    command_line: str

    @property
    def text(self) -> str:
        """The content of the section `.profile`."""
        return f"ID={self.name}\nTITLE={self.title}\n"


def profiles(command_line: str, version: str) -> tuple[Profile, ...]:
    """The entries for a system with *command_line*: the normal one first."""
    title = f"Orlop {version}"
    loud = " ".join(word for word in command_line.split() if not word.startswith(QUIET_WORDS))
    return (
        Profile("main", title, command_line),
        Profile("debug", f"{title}, with all messages", f"{loud} orlop.debug"),
        Profile(
            "recovery",
            f"{title}, recovery: a shell on the console, no services",
            f"{command_line} orlop.recovery",
        ),
    )


def build_uki(context: StepContext, *, command_line: str, keys: Keys | None = None) -> None:
    """Step ``uki``: make `orlop.efi`; nothing in it depends on when or where.

    With *keys* it is signed, and has a policy for TPMs (`image/pcr_policy.py`).
    """
    release = json.loads((context.result("root") / "release.json").read_text())
    known = json.loads((context.result("extras") / EXTRAS_RECORD).read_text())
    [kernel_release] = (path.name for path in (context.result("kernel") / "lib/modules").iterdir())
    first, *others = profiles(command_line, release["version"])
    joined = []
    for profile in others:
        target = context.scratch / f"{profile.name}.efi"
        context.run(
            [
                *("ukify", "build", "--stub", PROFILE_STUB, "--output", str(target)),
                *("--profile", profile.text, "--cmdline", profile.command_line),
            ]
        )
        joined += ["--join-profile", str(target)]
    output = context.output / FILE
    build = (
        *("ukify", "build", "--stub", STUB, "--output", str(output)),
        *("--linux", str(context.result("kernel") / "vmlinuz")),
        *("--initrd", str(context.result("initrd") / "initrd")),
        *("--uname", kernel_release, "--os-release", os_release(release, known["sha256"])),
        *("--cmdline", first.command_line, "--profile", first.text, *joined),
    )
    if keys is None:
        context.run(build)
    else:
        build = (*build, "--pcrpkey", str(keys.policy_public_key))
        context.run(build)
        policy = context.scratch / "policy.json"
        policy.write_text(sign_policies(output, keys, context.scratch, context.capture, UNSEALING))
        context.run([*build, "--section", f".pcrsig:@{policy}", *signing_arguments(keys)])


def os_release(release: Mapping[str, str], extras: str) -> str:
    """What boot managers and `bootctl` read of an image: os-release(5); and the SHA-256 of the
    *extras* of its build, so that nobody has to look into the system to know it."""
    return (
        f'ID=orlop\nNAME=Orlop\nPRETTY_NAME="Orlop {release["version"]}"\n'
        f"VERSION_ID={release['version']}\nBUILD_ID={release['build']}\n"
        f"{EXTRAS_WORD}={extras}\n"
    )


def sections(path: Path) -> dict[str, tuple[int, int]]:
    """Where each section of the PE file at *path* lies: name to (first sector, sectors of 512 B).

    Of sections with the same name it is the first, which in a unified kernel image is the one of
    the profile that is used by default.

    Raises:
        InvalidArgument: not a PE file, or a section does not begin at a sector.
    """
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    return {name: section.sectors for name, section in parse_sections(head, str(path)).items()}


def block_list(place: tuple[int, int]) -> str:
    """*place* of `sections` as GRUB writes a part of a file or disk: `START+COUNT`."""
    return f"{place[0]}+{place[1]}"
