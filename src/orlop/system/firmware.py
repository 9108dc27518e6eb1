"""What UEFI firmware is asked, and the one thing that an orderly shutdown tells it.

A kernel with CONFIG_RESET_ATTACK_MITIGATION sets the "memory overwrite request" at boot, so that
the firmware wipes the RAM after an unexpected reset: keys do not survive into the hands of whoever
pulled the plug. After an orderly end that wipe is only lost time, and on large machines minutes.

Sources: UEFI specification 2.10, 3.3 (SecureBoot, SetupMode); TCG Platform Reset Attack Mitigation
Specification 1.10; Linux efivarfs.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import struct

log = logging.getLogger(__name__)

VARIABLES = "/sys/firmware/efi/efivars"
VARIABLE = f"{VARIABLES}/MemoryOverwriteRequestControl-e20939be-32d4-41be-a150-897f85d49829"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
"""EFI_GLOBAL_VARIABLE: whose variables the specification itself names."""

FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_IMMUTABLE_FL = 0x10
_LONG = struct.Struct("l")


@functools.cache
def secure_boot(directory: str = VARIABLES) -> str | None:
    """Whether the firmware checked what it started: `on`, `off`, or `setup` where it would take
    keys from anybody. None without UEFI, or with one that knows nothing of it.

    As it was at the first call: a change needs a reboot.
    """
    if _flag(f"{directory}/SetupMode-{GLOBAL}"):
        return "setup"
    state = _flag(f"{directory}/SecureBoot-{GLOBAL}")
    return None if state is None else ("on" if state else "off")


def _flag(path: str) -> bool | None:
    """The value of a variable of one byte; None if there is none."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(5)
    except OSError:
        return None
    return bool(content[4]) if len(content) == 5 else None


def withdraw_memory_overwrite_request(path: str = VARIABLE) -> bool:
    """Clear the request where there is one; whether it was cleared now. Never raises."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(5)
        # Four bytes of attributes, then the value; bit 0 is the request.
        if len(content) != 5 or not content[4] & 1:
            return False
        _set_mutable(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, content[:4] + bytes([content[4] & ~1]))
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return False
    except OSError as error:
        log.warning("cannot withdraw the memory overwrite request: %s, ignoring", error.strerror)
        return False
    return True


def _set_mutable(path: str) -> None:
    """efivarfs protects variables from accidents with the immutable flag."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        buffer = bytearray(_LONG.size)
        fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, buffer)
        flags: int = _LONG.unpack(buffer)[0]
        if flags & FS_IMMUTABLE_FL:
            fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, _LONG.pack(flags & ~FS_IMMUTABLE_FL))
    except OSError:
        pass  # a file system without flags
    finally:
        os.close(descriptor)
