"""All steps of a build, and what it publishes.

    debs -> packages -> python-libraries -> python --+
    sources -> build-* ------------------------------+-> root -> initrd -+
    kernel-source -> kernel-config -> kernel -> modules -> extras -------+-> uki -> iso -> manifest
                                                               loader -----------+

Only ``python`` and what follows it depends on our Python code.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orlop.image import (
    boot_loader,
    debian,
    extras,
    gate,
    kernel_steps,
    lockfile,
    network_boot,
    root,
    secure_boot,
    source_build,
    uki,
)
from orlop.image import manifest as manifest_step
from orlop.image import release_steps as release
from orlop.image.command_line import default_command_line
from orlop.image.kernel_config import CONFIG_FILE
from orlop.image.packages import unpack_packages
from orlop.image.secure_boot import Keys
from orlop.image.source_build import Build
from orlop.image.step import Inputs, Step

ISO_TOOLS = ("dosfstools", "grub-common", "grub-efi-amd64-bin", "grub-pc-bin", "mtools", "xorriso")
UKI_TOOLS = ("python3-pefile", "systemd-boot-efi", "systemd-ukify")


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, and the files of ``out/``: name to (step, path in the step's result)."""

    steps: tuple[Step, ...]
    outputs: Mapping[str, tuple[str, str]]


def plan(
    checkout: Path, locked: bool, trust: str = "", keys: Keys | None = None, append: str = ""
) -> Plan:
    """Read what is under ``os/`` and decide the steps; nothing is built. *trust* is the root whose
    releases the system will take.

    With *keys* there is a signed ISO as well, with *append* on its command lines.

    Raises:
        InvalidArgument: a description is not valid.
        NotFound: a lock file is missing.
    """
    steps = (
        *debian.steps(checkout, locked=locked),
        *kernel_steps.steps(checkout),
        *root_steps(checkout, trust),
        _extras_step(checkout),
        *release_steps(checkout),
    )
    outputs = {
        "orlop.iso": ("iso", "orlop.iso"),
        uki.FILE: ("uki", uki.FILE),
        boot_loader.BIOS_FILE: ("loader", boot_loader.BIOS_FILE),
        boot_loader.EFI_FILE: ("loader", boot_loader.EFI_FILE),
        extras.IMAGE_FILE: ("extras", extras.IMAGE_FILE),
        "vmlinuz": ("kernel", "vmlinuz"),
        "initrd": ("initrd", "initrd"),
        network_boot.FILE: ("network-boot", network_boot.FILE),
        "kernel.config": ("kernel-config", CONFIG_FILE),
        "manifest.json": ("manifest", "manifest.json"),
        "sbom.spdx.json": ("manifest", "sbom.spdx.json"),
    }
    if keys is not None:
        steps = (*steps, *signed_steps(checkout, keys, append))
        outputs["orlop-signed.iso"] = ("signed-iso", "orlop.iso")
        outputs["orlop-signed.efi"] = ("signed-uki", uki.FILE)
    return Plan(steps, outputs)


def root_steps(checkout: Path, trust: str) -> tuple[Step, ...]:
    """From .deb files and our sources to ``os.erofs``."""
    builds = source_build.read_builds(checkout / "os/build")
    in_root = tuple(name for name in builds if name != "init")
    source = checkout / "src/orlop"
    descriptions = (checkout / "os/root", checkout / "os/services")
    date = lockfile.parse_epoch(lockfile.read(checkout, "image.lock"))
    return (
        Step("packages", unpack_packages, Inputs(needs=("debs",), tools=("dpkg",), epoch=0)),
        *(_build_step(build, checkout) for build in builds.values()),
        Step(
            "python-libraries",
            root.compile_libraries,
            Inputs(needs=("packages",), tools=("python3.13",), epoch=0),
        ),
        Step(
            "python",
            functools.partial(root.compile_python, checkout=checkout),
            Inputs(
                files=(source, *descriptions),
                needs=("packages", "python-libraries"),
                tools=("python3.13",),
                epoch=0,
            ),
        ),
        Step(
            "root",
            functools.partial(
                root.build_root, checkout=checkout, builds=in_root, trust=trust, date=date
            ),
            Inputs(
                files=(*descriptions, checkout / "os/sysctl.toml"),
                values=(trust, str(date)),
                needs=(
                    *("packages", "python-libraries", "python", "modules", "extras"),
                    *(f"build-{name}" for name in in_root),
                ),
                tools=("erofs-utils", "python3-pyelftools"),
                epoch=0,
            ),
        ),
    )


def _extras_step(checkout: Path) -> Step:
    return Step(
        "extras",
        functools.partial(extras.build_extras, checkout=checkout),
        Inputs(
            files=(checkout / extras.CONTENTS,),
            needs=("packages", "modules"),
            tools=("erofs-utils", "python3-pyelftools"),
            epoch=0,
        ),
    )


def _build_step(build: Build, checkout: Path) -> Step:
    files = [checkout / source for source in build.sources]
    headers = sorted({header for file in files for header in file.parent.glob("*.h")})
    if build.version_script:
        headers.append(checkout / build.version_script)
    return Step(
        f"build-{build.name}",
        functools.partial(source_build.run_build, build=build, checkout=checkout),
        Inputs(
            files=(*files, *headers),
            values=(build.text,),
            needs=("sources",) if build.source else (),
            tools=build.tools,
        ),
    )


def release_steps(checkout: Path) -> tuple[Step, ...]:
    """From kernel and ``os.erofs`` to everything that is published."""
    command_line = default_command_line(checkout)
    builds = tuple(source_build.read_builds(checkout / "os/build"))
    return (
        Step("initrd", release.build_initrd, Inputs(needs=("root", "build-init"), tools=())),
        Step(
            "uki",
            functools.partial(uki.build_uki, command_line=command_line),
            Inputs(
                values=(command_line,),
                needs=("kernel", "initrd", "root", "extras"),
                tools=UKI_TOOLS,
            ),
        ),
        Step(
            "network-boot",
            functools.partial(
                network_boot.build_script, checkout=checkout, command_line=command_line
            ),
            Inputs(
                files=(checkout / network_boot.SCRIPT,),
                values=(command_line,),
                needs=("root",),
                tools=(),
            ),
        ),
        Step(
            "gate",
            functools.partial(gate.build_gate, checkout=checkout),
            Inputs(
                files=tuple(checkout / path for path in gate.GATE_SOURCES),
                tools=gate.GATE_TOOLS,
                epoch=0,
            ),
        ),
        Step(
            "loader",
            functools.partial(boot_loader.build_loader, checkout=checkout),
            Inputs(
                files=(checkout / boot_loader.SCRIPT,),
                needs=("gate",),
                tools=boot_loader.TOOLS,
                epoch=0,
            ),
        ),
        _iso_step(checkout, command_line),
        Step(
            "manifest",
            functools.partial(manifest_step.build_manifest, builds=builds),
            Inputs(
                needs=(
                    *("debs", "sources", "kernel-source", "packages"),
                    *("python-libraries", "python", "root"),
                    *(
                        "kernel",
                        "kernel-config",
                        "hardening",
                        "initrd",
                        "network-boot",
                        "uki",
                        "loader",
                        "iso",
                        "extras",
                    ),
                    *(f"build-{name}" for name in builds),
                ),
                tools=tuple(manifest_step.LINKED_TOOLS.values()),
            ),
        ),
    )


def _iso_step(checkout: Path, command_line: str, prefix: str = "") -> Step:
    menus = (release.GRUB_MENU, release.GRUB_SEARCH, release.DISK_MENU)
    return Step(
        f"{prefix}iso",
        functools.partial(
            release.build_iso, checkout=checkout, command_line=command_line, prefix=prefix
        ),
        Inputs(
            files=tuple(checkout / file for file in menus),
            values=(command_line,),
            needs=tuple(dict.fromkeys(("loader", f"{prefix}loader", f"{prefix}uki", "root"))),
            tools=ISO_TOOLS,
        ),
    )


def signed_steps(checkout: Path, keys: Keys, append: str) -> tuple[Step, ...]:
    """Boot loader, unified kernel image and ISO once more, signed with *keys*."""
    command_line = f"{default_command_line(checkout)} {append}".strip()
    return (
        Step(
            "signed-loader",
            functools.partial(secure_boot.seal_loader, keys=keys),
            Inputs(files=keys.public, needs=("loader", "gate"), tools=secure_boot.TOOLS),
        ),
        Step(
            "signed-uki",
            functools.partial(uki.build_uki, command_line=command_line, keys=keys),
            Inputs(
                files=keys.public,
                values=(command_line,),
                needs=("kernel", "initrd", "root", "extras"),
                tools=(*UKI_TOOLS, *secure_boot.TOOLS, "systemd"),
            ),
        ),
        _iso_step(checkout, command_line, "signed-"),
    )
