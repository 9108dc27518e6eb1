"""`./orlop bench order > os/root/first.txt`: which files a boot reads.

First those that are read until PID 1's engine answers, sorted by path because what lies beside its
like compresses best; then the rest in the order in which it is read. The builder compresses these
files together (`orlop.image.erofs`), so that a boot decompresses little else. The list may be old:
a file that is missing there costs the boot a cluster, nothing more.
"""

import re
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.boot.floor import entry
from bench.boot.guest import GuestFailed, running
from bench.boot.sides import TIMEOUT_S, orlop_side
from orlop.image.command_line import default_command_line
from orlop.lib.errors import OrlopError
from orlop.vm.qemu import TCG

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("record.c")
MEMORY_MIB, CPUS = 1024, 2
"""Enough that nothing which was read is given up again."""
_LINE = re.compile(rb"^first: (\S+)\r?$", re.MULTILINE)
HEAD = "# What a boot reads. Made by: ./orlop bench order > os/root/first.txt"


def main() -> int:
    out = CHECKOUT / "out"
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as work:
        try:
            before, after = record(out, Path(work))
        except (GuestFailed, OrlopError) as error:
            print(f"orlop: {error}", file=sys.stderr)
            return 1
    print(HEAD, *before, "# until the engine answers; after that:", *after, sep="\n")
    return 0


def record(out: Path, work: Path) -> tuple[list[str], list[str]]:
    """Boot what the builder left in *out* and see what is in memory when the engine answers, and
    what comes later.

    Emulated always: a slow machine shows the order better.
    """
    program, initrd = work / "record", work / "initrd"
    subprocess.run(["musl-gcc", "-Os", "-static", "-s", "-o", program, SOURCE], check=True)
    added = entry("record", stat.S_IFREG | 0o755, program.read_bytes())
    initrd.write_bytes((out / "initrd").read_bytes() + added + entry("TRAILER!!!", 0))
    arguments = f"{default_command_line(CHECKOUT)} rdinit=/record"
    side = replace(orlop_side(out, arguments, MEMORY_MIB, CPUS).side, initrd=initrd)
    with running(side, TCG) as (_, streams):
        shown = streams.wait_console(b"first: end", TIMEOUT_S)
    *paths, _end = [path.decode() for path in _LINE.findall(shown)]
    engine = paths.index("engine")
    return sorted(paths[:engine]), paths[engine + 1 :]


if __name__ == "__main__":
    sys.exit(main())
