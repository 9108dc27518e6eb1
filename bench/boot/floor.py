"""The floor: our kernel and an initrd with nothing but a static init that prints one line."""

import stat
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("floor_init.c")
_ALIGNMENT = 4


def make_initrd(folder: Path) -> Path:
    """Compile the init and pack it, with /dev/console, into `floor.cpio` in *folder*."""
    program = folder / "floor-init"
    subprocess.run(["musl-gcc", "-Os", "-static", "-s", "-o", program, SOURCE], check=True)
    initrd = folder / "floor.cpio"
    initrd.write_bytes(
        entry("dev", stat.S_IFDIR | 0o755)
        + entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
        + entry("init", stat.S_IFREG | 0o755, program.read_bytes())
        + entry("TRAILER!!!", 0)
    )
    return initrd


def entry(name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """One file in the "newc" format. Source: Linux, early-userspace/buffer-format.rst.

    Thirteen numbers of eight hexadecimal digits after the magic: inode, mode, user, group, links,
    time, size, the file system's device (major, minor), the node's device, length of the name,
    checksum. Inode 0 is right for all of them, as each has one link.
    """
    path = name.encode() + b"\0"
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers)
    return _padded(head + path) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
