"""What the firmware calls this machine: the UUID of its SMBIOS table."""

from __future__ import annotations

MACHINE_FILE = "/sys/class/dmi/id/product_uuid"


def machine_id(path: str = MACHINE_FILE) -> str:
    """The UUID in lower case; empty where the firmware says nothing. Only root may read it."""
    try:
        with open(path, encoding="ascii") as stream:
            return stream.read(256).strip().lower()
    except (OSError, UnicodeDecodeError):
        return ""
