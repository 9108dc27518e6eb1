"""The worker that looks at an image: `worker image`, the file on descriptor 0.

It gives up every privilege before it looks at a byte. The answer is one JSON object on stdout:
`sha256`, `size_bytes`, `version`, `build`, `command_line`, `kernel` and `initrd` (see
`lib.unified_image`); or `error` and `kind`.
"""

from __future__ import annotations

import json
import os
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from dataclasses import asdict
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError
from orlop.lib.kernel_payload import check_kernel
from orlop.lib.unified_image import describe
from orlop.system.config.worker import drop_privileges

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json

PART_BYTES = 1 << 20


def main(argv: list[str]) -> int:
    """Drop, read, answer."""
    del argv
    drop_privileges()
    try:
        answer = look(0)
    except OrlopError as error:
        answer = {"error": error.message, "kind": type(error).__name__}
    data = json.dumps(answer).encode()
    while data:
        data = data[os.write(1, data) :]
    return 0


def look(descriptor: int) -> dict[str, Json]:
    """What the image open as *descriptor* is.

    Raises:
        InvalidArgument: it is none of this system, or its kernel is damaged.
    """

    def read(offset: int, size: int) -> bytes:
        return os.pread(descriptor, size, offset)

    found = describe(read, "the file")
    check_kernel(read, found.kernel, "the file")
    digest, offset = sha256(), 0
    while data := os.pread(descriptor, PART_BYTES, offset):
        digest.update(data)
        offset += len(data)
    answer: dict[str, Json] = {"sha256": digest.hexdigest(), "size_bytes": offset}
    fields = asdict(found)
    for place in ("kernel", "initrd"):
        fields[place] = [*fields[place]]
    return answer | fields
