"""What the processes of an engine cost: memory that is theirs alone, and processor time."""

import os
from dataclasses import dataclass
from pathlib import Path

CLOCK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of all processes of an engine together."""

    processes: int
    pss_bytes: int
    cpu_s: float


def measure(programs: tuple[str, ...]) -> Cost:
    """Add up the processes in this PID namespace that run one of *programs*.

    PSS: a page that several processes share counts in parts.
    """
    count, pss_bytes, ticks = 0, 0, 0
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            if _runs(directory, programs):
                pss_bytes += _pss_bytes(directory)
                ticks += _ticks(directory)
                count += 1
        except (FileNotFoundError, ProcessLookupError):
            continue
    return Cost(count, pss_bytes, ticks / CLOCK)


def _runs(directory: Path, programs: tuple[str, ...]) -> bool:
    """Whether a word of the command line, or its last part, is a program or `program-…`."""
    words = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
    names = {*words, *(os.path.basename(word) for word in words[:1])}
    return any(
        name == program or name.startswith(f"{program}-") for name in names for program in programs
    )


def _pss_bytes(directory: Path) -> int:
    for line in (directory / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _ticks(directory: Path) -> int:
    text = (directory / "stat").read_text()
    fields = text[text.rfind(")") + 2 :].split()
    # Its own and those of children it has waited for, user and system.
    return sum(map(int, fields[11:15]))
