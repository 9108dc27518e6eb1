"""The worker that mounts what a volume's options say: `worker volume-mount TARGET`.

The options come on standard input as a JSON object. A process, because a server that does not
answer may keep the call for ever, signals or not: that must be nobody's thread. It prints the
reason when it fails.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from orlop.engine.volumes.driver import mount_options


def main(argv: list[str]) -> int:
    """Mount; 1 when the kernel refused."""
    try:
        mount_options(json.loads(sys.stdin.buffer.read()), Path(argv[0]))
    except OSError as error:
        print(error.strerror or error, flush=True)
        return 1
    return 0
