"""Whether this host can run a guest with KVM, found out by running one.

That `/dev/kvm` opens proves little: inside some virtual machines and sandboxes it opens and the
guest then hangs or the first run fails. So a boot sector of a few bytes is booted through the
firmware, real and protected mode both, and has to end QEMU with a status that only it can cause.
On the way it executes an instruction with a VEX prefix, if its processor says that it has them:
where KVM is itself an emulator of instructions, firmware runs and a kernel stops at the first of
those, in its own decompression.
The answer holds until the host reboots or the device comes or goes, and is kept in the cache.
"""

import json
import os
import struct
import subprocess
import tempfile
from pathlib import Path

from orlop.lib.atomic_file import write_text
from orlop.lib.process import environment
from orlop.vm.qemu import KVM, PROGRAM, TCG, Accelerator

PROBE_TIMEOUT_S = 5.0
"""The guest needs 0.2 s where KVM works; where it does not, everyone waits this long, once."""

CACHE_FILE = "accelerator-2.json"
"""The number is that of the probe: what an older one found out does not count."""
KVM_DEVICE = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_DEBUG_EXIT_PORT = 0xF4
_MAGIC = 0x2A
# QEMU's isa-debug-exit ends it with (value << 1) | 1.
_PROBE_STATUS = _MAGIC << 1 | 1
_SECTOR_BYTES = 512
_LOAD_ADDRESS = 0x7C00

_ENTER_PROTECTED_MODE = (
    b"\xfa"  # cli
    b"\x31\xc0\x8e\xd8"  # xor ax, ax; mov ds, ax
    b"\x0f\x01\x16\xaa\xaa"  # lgdt [where the table is described]
    b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0"  # mov eax, cr0; or al, 1; mov cr0, eax
    b"\xea\xbb\xbb\x08\x00"  # jmp 8:next
)
_TRY_AND_REPORT = (
    b"\xb8\x07\x00\x00\x00\x31\xc9\x0f\xa2"  # mov eax, 7; xor ecx, ecx; cpuid
    b"\x0f\xba\xe3\x08\x73\x05"  # bt ebx, 8 (BMI2); jnc over the next
    b"\xc4\xe2\x71\xf7\xc0"  # shlx eax, eax, ecx
    + bytes([0xB0, _MAGIC, 0xE6, _DEBUG_EXIT_PORT])  # mov al, MAGIC; out PORT, al
    + b"\xf4\xeb\xfd"  # hlt; jmp to it
)
# A null segment, and code from 0 to 4 GiB.
_SEGMENTS = bytes(8) + b"\xff\xff\x00\x00\x00\x9a\xcf\x00"
# The firmware refuses a disk of one sector.
_DISK_BYTES = 64 << 10


def boot_disk() -> bytes:
    """The probe's guest: a boot sector that tries the processor and reports success.

    VEX prefixes exist in protected mode only, so it goes there first, through a table (at the end)
    with one flat code segment.
    """
    entry, table = _LOAD_ADDRESS + len(_ENTER_PROTECTED_MODE), _LOAD_ADDRESS + 0x80
    code = _ENTER_PROTECTED_MODE.replace(b"\xaa\xaa", struct.pack("<H", table + 16))
    code = code.replace(b"\xbb\xbb", struct.pack("<H", entry)) + _TRY_AND_REPORT
    code = code.ljust(table - _LOAD_ADDRESS, b"\0") + _SEGMENTS
    code += struct.pack("<HI", len(_SEGMENTS) - 1, table)
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
