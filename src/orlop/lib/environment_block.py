"""GRUB's environment blocks: a few variables in a file of a fixed size, for GRUB to read and write.

A signature, a line `NAME=VALUE` for each variable, and '#' up to the end. In a value a backslash
stands before a backslash and before a line break. Source: GRUB 2.12 grub-core/lib/envblk.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNATURE = b"# GRUB Environment Block\n"


def parse(block: bytes) -> dict[str, str] | None:
    """The variables of *block*, the first of each name; None if it is none, or not ASCII."""
    if not block.startswith(SIGNATURE) or not block.isascii():
        return None
    found: dict[str, str] = {}
    text = block[len(SIGNATURE) :].decode("ascii")
    for line in text.replace("\\\\", "\0").replace("\\\n", "\1").split("\n"):
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            found.setdefault(name, value.replace("\1", "\n").replace("\0", "\\"))
    return found


def render(variables: Mapping[str, str], size_bytes: int) -> bytes:
    """A block of *size_bytes* with *variables*, in their order.

    Raises:
        InvalidArgument: they do not fit, or are not ASCII.
    """
    lines = [
        f"{name}={value.replace('\\', '\\\\').replace('\n', '\\\n')}\n"
        for name, value in variables.items()
    ]
    try:
        block = SIGNATURE + "".join(lines).encode("ascii")
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"the boot loader reads ASCII only: {error}") from None
    if len(block) > size_bytes:
        raise InvalidArgument(f"{len(block)} bytes do not fit into a block of {size_bytes}")
    return block.ljust(size_bytes, b"#")
