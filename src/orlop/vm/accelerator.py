"""Whether this host can run a guest with KVM, found out by running one.

That `/dev/kvm` opens proves little: inside some virtual machines and sandboxes it opens and the
guest then hangs or the first run fails. So a boot sector of a few bytes is booted through the
firmware, real and protected mode both, and has to end QEMU with a status that only it can cause.
The answer holds until the host reboots or the device comes or goes, and is kept in the cache.
"""

import json
import os
import subprocess
import tempfile
from pathlib import Path

from orlop.lib.atomic_file import write_text
from orlop.lib.process import environment
from orlop.vm.qemu import KVM, PROGRAM, TCG, Accelerator

PROBE_TIMEOUT_S = 5.0
"""The guest needs 0.2 s where KVM works; where it does not, everyone waits this long, once."""

CACHE_FILE = "accelerator.json"
KVM_DEVICE = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_DEBUG_EXIT_PORT = 0xF4
_MAGIC = 0x2A
# QEMU's isa-debug-exit ends it with (value << 1) | 1.
_PROBE_STATUS = _MAGIC << 1 | 1
_SECTOR_BYTES = 512
# The firmware refuses a disk of one sector.
_DISK_BYTES = 64 << 10


def boot_disk() -> bytes:
    """The probe's guest, a boot sector: `mov al, MAGIC; out PORT, al; hlt; jmp` to the `hlt`."""
    code = bytes([0xB0, _MAGIC, 0xE6, _DEBUG_EXIT_PORT, 0xF4, 0xEB, 0xFD])
    sector = code.ljust(_SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"
    return sector.ljust(_DISK_BYTES, b"\0")


def probe_command(accelerator: Accelerator, disk: Path) -> list[str]:
    """The QEMU command line that boots *disk*, on the oldest hardware there is."""
    return [
        *(PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-m", "32M"),
        *("-machine", "pc", "-accel", accelerator.argument, "-cpu", accelerator.cpu),
        *("-device", f"isa-debug-exit,iobase={_DEBUG_EXIT_PORT:#x},iosize=1"),
        *("-drive", f"if=none,id=probe,format=raw,snapshot=on,file={disk}"),
        *("-device", "ide-hd,drive=probe,bootindex=0"),
    ]


def boots(accelerator: Accelerator, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
    """Whether a guest ran to its end under *accelerator* within *timeout_s*."""
    with tempfile.NamedTemporaryFile(prefix="orlop-probe-") as disk:
        disk.write(boot_disk())
        disk.flush()
        try:
            done = subprocess.run(
                probe_command(accelerator, Path(disk.name)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment(),
                timeout=timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
    return done.returncode == _PROBE_STATUS


def choose(cache: Path) -> Accelerator:
    """KVM where it really works, else emulation; remembers the answer in *cache*."""
    if not os.access(KVM_DEVICE, os.R_OK | os.W_OK):
        return TCG
    remembered = cache / CACHE_FILE
    boot_id = BOOT_ID.read_text().strip()
    works = _recall(remembered, boot_id)
    if works is None:
        works = boots(KVM)
        text = json.dumps({"boot_id": boot_id, "kvm": works})
        write_text(remembered, text + "\n", durable=False)
    return KVM if works else TCG


def _recall(path: Path, boot_id: str) -> bool | None:
    """The remembered answer, or None where there is none for this boot of the host."""
    try:
        entry = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(entry, dict) or entry.get("boot_id") != boot_id:
        return None
    return entry.get("kvm") is True
