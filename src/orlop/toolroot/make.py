"""Make a tool root: a Debian 13 tree with every tool that Orlop is built and tested with.

mmdebstrap makes it from the host's mirror in a temporary directory; it is checked and then renamed
to the name of its key, so a tool root exists whole or not at all. Pins are apt preferences: if the
archive still has the pinned versions they are taken, and if it does not (a Debian point release
replaced one) the present ones, which `drift` then lists.

Runs on the host's Python: keep it to Python 3.11.
"""

import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orlop.lib.errors import Internal
from orlop.toolroot import apt_sources, host_apt
from orlop.toolroot.settings import ToolList

EXCLUDED = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/usr/share/bug/*",
)
RECORD = "orlop-toolroot.json"
PIN_PRIORITY = 1001
"""Above 1000, so that apt also goes back to the pinned version from a newer one."""


def preferences_text(pins: Mapping[str, str]) -> str:
    """apt preferences that choose the pinned versions where the archive has them."""
    return "\n".join(
        f"Package: {name}\nPin: version {version}\nPin-Priority: {PIN_PRIORITY}\n"
        for name, version in sorted(pins.items())
    )


def mmdebstrap_command(
    tools: ToolList,
    apt: host_apt.HostApt,
    inputs: Path,
    archives: Path,
    target: Path,
    *,
    root: bool,
) -> list[str]:
    """The mmdebstrap command for *target*; *inputs* holds `etc/apt` as `host_apt.write` made it."""
    source, cached = shlex.quote(str(inputs / "etc" / "apt")), shlex.quote(str(archives))
    settings = [f'--aptopt={key} "{value}"' for key, value in apt.settings.items()]
    return [
        "mmdebstrap",
        "--mode=root" if root else "--mode=unshare",
        "--variant=apt",
        "--format=directory" if root else "--format=tar",
        "--architectures=amd64",
        *settings,
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
        "--dpkgopt=force-unsafe-io",  # one sync at the end instead of one per file
        # Packages that an earlier tool root had are not fetched again.
        *("--skip=download/empty", "--skip=essential/unlink"),
        '--setup-hook=mkdir -p "$1"/var/cache/apt/archives',
        f"--setup-hook=sync-in {cached} /var/cache/apt/archives",
        *(
            f"--setup-hook=copy-in {source}/{name} /etc/apt"
            for name in (*host_apt.COPIED, "preferences.d")
            if (inputs / "etc" / "apt" / name).exists()
        ),
        f"--customize-hook=sync-out /var/cache/apt/archives {cached}",
        f"--include={','.join(tools.packages)}",
        apt_sources.SUITE,
        str(target),
        str(inputs / "etc" / "apt" / "sources.list.d" / "debian.sources"),
    ]


def installed(toolroot: Path) -> dict[str, str]:
    """The versions of the packages in *toolroot*, from its dpkg status file."""
    versions = {}
    for stanza in (toolroot / "var/lib/dpkg/status").read_text().split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in stanza.splitlines()
            if not line.startswith(" ") and ": " in line
        )
        if fields.get("Status", "").endswith(" installed"):
            versions[fields["Package"]] = fields["Version"]
    return versions


def drift(tools: ToolList, toolroot: Path) -> list[str]:
    """Where the tool root differs from its lock, as lines for people."""
    if not tools.pins:
        return []
    have = installed(toolroot)
    return [
        f"{name}: locked {tools.pins.get(name, 'not at all')}, installed {have.get(name, 'not')}"
        for name in sorted(have.keys() | tools.pins.keys())
        if have.get(name) != tools.pins.get(name)
    ]


def make(
    tools: ToolList,
    cache: Path,
    temporary: Path,
    run: Callable[[list[str]], None],
    *,
    root: bool,
) -> Path:
    """Make a tool root in *temporary* and return it, ready to be renamed.

    *run* executes a command contained and logged, and raises if it fails.
    """
    apt = host_apt.read()
    inputs = temporary / "inputs"
    host_apt.write(apt, inputs / "etc", keyrings_inside=False)
    preferences = inputs / "etc" / "apt" / "preferences.d" / "orlop-lock"
    preferences.write_text(preferences_text(tools.pins))
    archives = cache / "apt" / "toolroot-archives"
    archives.mkdir(parents=True, exist_ok=True)
    made = temporary / "toolroot"
    # A plain user's tool root is unpacked in the mapping that later commands run in, so that its
    # files' owners come out right.
    mapped = [] if root else ["unshare", "--map-root-user", "--map-auto"]
    if root:
        run(mmdebstrap_command(tools, apt, inputs, archives, made, root=True))
    else:
        tar = temporary / "toolroot.tar"
        run(mmdebstrap_command(tools, apt, inputs, archives, tar, root=False))
        made.mkdir()
        run(
            [
                *(*mapped, "tar", "--extract", "--numeric-owner", "--exclude=./dev/*"),
                *("--file", str(tar), "--directory", str(made)),
            ]
        )
        tar.unlink()
    # Credentials and mirrors are not for keeping: they come from the host at each start.
    run([*mapped, "rm", "-rf", str(made / "etc" / "apt")])
    pip_lock = install_pip_tools(tools, made, temporary, run)
    record = {"drift": drift(tools, made), "packages": installed(made), "pip_lock": pip_lock}
    check(tools, made)
    (made / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    run(["sync", "--file-system", str(made)])
    return made


def install_pip_tools(
    tools: ToolList, made: Path, temporary: Path, run: Callable[[list[str]], None]
) -> str:
    """Put what Debian lacks into /opt/pip, from PyPI by hash, and return its lock.

    Without a lock the newest versions are taken, and the lock returned pins them. The tool root's
    pip runs on the host's Python, because only there the host's pip settings (indexes, proxies,
    certificates, local directories) mean what they say.
    """
    pip = [sys.executable, str(made / "usr/lib/python3/dist-packages/pip")]
    exactly = ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
    lock = tools.pip_lock
    if not lock:
        wheels = temporary / "wheels"
        run([*pip, "download", *exactly, "--dest", str(wheels), *tools.pip_packages])
        lock = pip_lock_text(sorted(wheels.glob("*.whl")))
    requirements = temporary / "requirements.txt"
    requirements.write_text(lock)
    target = ["--no-compile", "--target", str(made / "opt" / "pip")]
    hashed = ["--require-hashes", "--requirement", str(requirements)]
    run([*pip, "install", *exactly, *target, *hashed])
    return lock


def pip_lock_text(wheels: Sequence[Path]) -> str:
    """A requirements file that pins *wheels*, whose names begin with NAME-VERSION-."""
    lines = ["# Written by `./orlop lock`; see docs/building.md.\n"]
    for wheel in wheels:
        name, version, *_ = wheel.name.split("-")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)


def check(tools: ToolList, made: Path) -> None:
    """Raise if the tool root is not what was asked for."""
    missing = set(tools.packages) - installed(made).keys()
    programs = ("usr/bin/python3.13", "usr/bin/tini", "usr/bin/env")
    missing |= {program for program in programs if not (made / program).exists()}
    if missing:
        raise Internal(f"the new tool root lacks {', '.join(sorted(missing))}")
