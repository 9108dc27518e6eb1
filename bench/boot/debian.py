"""The other side of the comparison: Debian 13, systemd and docker.io, as small as packages allow.

The image is made by mmdebstrap from the archive that this machine's apt is configured for, and
kept in the cache under a key of everything it is made from. Where there was a choice, the one that
makes Debian faster was taken: the cloud kernel, no recommended packages, no SSH server, no time
service, no boot loader, a machine id that is set, and one boot before the first measured one, so
that nothing is done for the first time.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SUITE = "trixie"
PACKAGES = (
    "docker.io",
    "initramfs-tools",
    "linux-image-cloud-amd64",
    "systemd-sysv",
    "udev",
    "zstd",
)
PORT = "/dev/virtio-ports/org.orlop.boot.0"
KERNEL_ARGUMENTS = "root=/dev/vda ro quiet console=ttyS0 panic=-1"
PRIME = "bench.prime"
"""The kernel argument of the boot that finishes the image and switches itself off."""
DISK_SIZE = "2G"
IDLE_AFTER_S = 15

UNITS = {
    # Ordered after the socket alone: its connection waits until dockerd itself answers.
    "bench-answer.service": f"""\
[Unit]
After=docker.socket
Requires=docker.socket
[Service]
ExecStart=/usr/local/bin/bench-reporter answer /run/docker.sock {PORT}
[Install]
WantedBy=multi-user.target
""",
    "bench-idle.service": f"""\
[Unit]
After=multi-user.target
[Service]
ExecStart=/usr/local/bin/bench-reporter idle {IDLE_AFTER_S} {PORT}
[Install]
WantedBy=graphical.target
""",
    "bench-prime.service": f"""\
[Unit]
After=bench-idle.service
ConditionKernelCommandLine={PRIME}
[Service]
ExecStartPre=/bin/sleep {IDLE_AFTER_S}
ExecStart=/bin/systemctl poweroff
[Install]
WantedBy=graphical.target
""",
}
FILES = {
    "etc/hostname": "debian\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/systemd/network/80-dhcp.network": "[Match]\nType=ether\n[Network]\nDHCP=yes\n",
    # Under an emulator on a busy machine the usual 90 s would make units fail, and so be faster.
    "etc/systemd/system.conf.d/bench.conf": (
        "[Manager]\nDefaultTimeoutStartSec=900\nDefaultDeviceTimeoutSec=900\n"
    ),
}
ENABLED = ("systemd-networkd.service", "docker.socket", "docker.service", *UNITS)


@dataclass(frozen=True, slots=True)
class DebianImage:
    """A Debian machine ready to boot: kernel, initrd and a raw disk with one ext4 file system."""

    kernel: Path
    initrd: Path
    disk: Path
    installed_bytes: int
    compressed_bytes: int
    packages: int


def image_key(reporter_source: Path) -> str:
    """A name for the image: all it is made from but the archive's own contents."""
    recipe = (SUITE, PACKAGES, FILES, UNITS, ENABLED, DISK_SIZE, reporter_source.read_text())
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]


def ensure_image(
    cache: Path, reporter_source: Path, prime: Callable[[DebianImage], None]
) -> DebianImage:
    """The image, made if the cache has none; *prime* boots a new one once, with `PRIME`.

    Takes a minute and needs apt's archive and root (or user namespaces) once. An entry appears in
    the cache whole or not at all.
    """
    final = cache / f"debian-{image_key(reporter_source)}"
    if not final.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".debian-", dir=cache) as name:
            work = Path(name)
            _make(work, reporter_source)
            entry = work / "entry"
            prime(_read(entry))
            entry.rename(final)
    return _read(final)


def _read(entry: Path) -> DebianImage:
    facts = json.loads((entry / "facts.json").read_text())
    return DebianImage(entry / "vmlinuz", entry / "initrd", entry / "disk.raw", **facts)


def plan_mmdebstrap(target: Path, sources: Sequence[Path]) -> list[str]:
    """The command that makes the tree in *target* from the apt sources in the files *sources*."""
    return [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--format=directory",
        SUITE,
        os.fspath(target),
        *map(os.fspath, sources),
    ]


def _make(work: Path, reporter_source: Path) -> None:
    tree, entry = work / "tree", work / "entry"
    entry.mkdir()
    _run(plan_mmdebstrap(tree, _apt_sources()))
    reporter = tree / "usr/local/bin/bench-reporter"
    _run(
        ["musl-gcc", "-Os", "-static", "-s", "-o", os.fspath(reporter), os.fspath(reporter_source)]
    )
    for name, text in FILES.items():
        _write(tree / name, text)
    for name, text in UNITS.items():
        _write(tree / "etc/systemd/system" / name, text)
    _run(["chroot", os.fspath(tree), "systemctl", "--quiet", "enable", *ENABLED])
    _run(["chroot", os.fspath(tree), "apt-get", "clean"])
    shutil.rmtree(tree / "var/lib/apt/lists", ignore_errors=True)

    shutil.copyfile(_only(tree / "boot", "vmlinuz-*"), entry / "vmlinuz")
    shutil.copyfile(_only(tree / "boot", "initrd.img-*"), entry / "initrd")
    disk = entry / "disk.raw"
    _run(["mke2fs", "-q", "-t", "ext4", "-d", os.fspath(tree), os.fspath(disk), DISK_SIZE])
    compressed = work / "disk.qcow2"
    _run(["qemu-img", "convert", "-c", "-O", "qcow2", os.fspath(disk), os.fspath(compressed)])
    installed = int(_run(["du", "-s", "-B1", os.fspath(tree)]).split()[0])
    packages = len(list((tree / "var/lib/dpkg/info").glob("*.list")))
    facts = {
        "installed_bytes": installed,
        "compressed_bytes": compressed.stat().st_size,
        "packages": packages,
    }
    _write(entry / "facts.json", json.dumps(facts) + "\n")


def _apt_sources() -> list[Path]:
    """The files that name this machine's archive; the network location stays in them."""
    folder = Path("/etc/apt/sources.list.d")
    found = sorted([*folder.glob("*.sources"), *folder.glob("*.list")])
    main = Path("/etc/apt/sources.list")
    return [main, *found] if main.is_file() else found


def _only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout
