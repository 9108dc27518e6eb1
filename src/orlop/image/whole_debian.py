"""A whole Debian as a tar: packages installed by dpkg, their scripts run, apt ready for more.

mmdebstrap installs from a small archive made of the locked .deb files and of nothing else, so the
result depends on the lock alone. Manuals, documents and translations are left out, as Debian's own
container images do; the licences stay.
"""

import hashlib
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from orlop.image.step import StepContext

SUITE = "trixie"
TOOLS = ("dpkg-dev", "mmdebstrap", "tar")
EXCLUDED = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
APT_SOURCES = "/usr/share/doc/apt/examples/debian.sources"
INCLUDED = ("/usr/share/doc/*/copyright", APT_SOURCES, "/usr/share/locale/locale.alias")
# What is of this build and not of the system, beside what mmdebstrap removes itself. No user has
# a password anyway; the backups of the files that name them would only differ.
RUBBISH = (
    *(
        "/etc/group-",
        "/etc/gshadow-",
        "/etc/passwd-",
        "/etc/shadow-",
        "/etc/subgid-",
        "/etc/subuid-",
    ),
    *("/var/cache/debconf/*-old", "/var/lib/dpkg/*-old", "/var/cache/ldconfig/aux-cache"),
    *("/var/log/*.log", "/var/log/apt/*"),
)


def write_debian(
    context: StepContext, debs: Path, packages: Sequence[str], overlay: Path, target: Path
) -> None:
    """Install *packages* and what is essential from the files in *debs*, as a tar at *target*."""
    archive = context.scratch / "archive"
    write_archive(context, debs, archive)
    context.progress(None, "installing packages")
    context.run(mmdebstrap_command(archive, packages, overlay, target))


def write_archive(context: StepContext, debs: Path, archive: Path) -> None:
    """Make *archive* one that apt can install from: an index of the files in *debs*."""
    folder = archive / f"dists/{SUITE}/main/binary-amd64"
    folder.mkdir(parents=True)
    (archive / "pool").symlink_to(debs)
    index = context.capture(["dpkg-scanpackages", "--multiversion", "pool"], cwd=archive).encode()
    (folder / "Packages").write_bytes(index)
    release = (
        f"Origin: Debian\nLabel: Debian\nSuite: stable\nCodename: {SUITE}\nComponents: main\n"
        f"Architectures: amd64\nDate: Thu, 01 Jan 1970 00:00:00 UTC\n"
        f"SHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} main/binary-amd64/Packages\n"
    )
    (archive / f"dists/{SUITE}/Release").write_text(release)


def mmdebstrap_command(
    archive: Path, packages: Sequence[str], overlay: Path, target: Path
) -> list[str]:
    """The command that installs *packages* from *archive* and puts *overlay* over the result."""
    hooks = [
        # The sources as the package of apt has them: this repository names no archive.
        f'cp "$1"{APT_SOURCES} "$1"/etc/apt/sources.list.d/debian.sources',
        'rm -f "$1"/etc/apt/sources.list "$1"/etc/hostname "$1"/etc/resolv.conf',
        "for path in " + " ".join(RUBBISH) + '; do rm -rf "$1"$path; done',
        # The engine mounts the machine's files over these; a mount needs a file to cover.
        'touch "$1"/etc/hostname "$1"/etc/resolv.conf',
    ]
    if overlay.is_dir():
        hooks.append(
            f'cp -a --no-preserve=ownership,timestamps {shlex.quote(str(overlay))}/. "$1"/'
        )
    return [
        *("mmdebstrap", "--variant=essential", "--format=tar", "--architectures=amd64"),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
        *(f"--dpkgopt=path-include={pattern}" for pattern in INCLUDED),
        *("--dpkgopt=force-unsafe-io", "--skip=output/dev"),
        f"--include={','.join(sorted(packages))}",
        *(f"--customize-hook={hook}" for hook in hooks),
        *(SUITE, os.fspath(target)),
        f"deb [trusted=yes] copy:{archive} {SUITE} main",
    ]
