"""The command line of another program of Orlop, whatever started this one."""

from __future__ import annotations

import os
import sys

_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from orlop.__main__ import main; sys.exit(main(sys.argv[1:]))"
)


def worker_command(name: str, *arguments: str) -> list[str]:
    """How to start `worker NAME ARGUMENT…` of the same interpreter and the same code.

    Isolated from the environment and from installed packages, which no worker needs.
    """
    base = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    flags = ["-I", "-S", *(["-OO"] if sys.flags.optimize > 1 else [])]
    interpreter = sys.executable or sys.orig_argv[0]
    compiled = os.path.exists(os.path.join(base, "__main__.pyc"))
    program = [base] if compiled else ["-c", _START, base]
    return [interpreter, *flags, *program, "worker", name, *arguments]
