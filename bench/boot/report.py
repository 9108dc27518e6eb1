"""Figures as lines for programs and as a table for people. Nothing is judged here."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

UNITS = {
    "engine_uptime_s": "s",
    "engine_wall_s": "s",
    "ready_uptime_s": "s",
    "ready_wall_s": "s",
    "memory_used_mib": "MiB",
    "processes": "1",
    "image_bytes": "B",
    "installed_bytes": "B",
    "packages": "1",
}
LABELS = {
    "engine_uptime_s": "engine answers, s since the kernel started",
    "engine_wall_s": "engine answers, s since hand-over to the kernel",
    "ready_uptime_s": "all services up, s since the kernel started",
    "ready_wall_s": "all services up, s since hand-over to the kernel",
    "memory_used_mib": "memory in use when idle, MiB",
    "processes": "user processes when idle",
    "image_bytes": "image to ship, bytes",
    "installed_bytes": "installed, bytes",
    "packages": "packages",
}

type Results = Mapping[str, Mapping[str, Sequence[float]]]
"""Side to figure to one value for each run."""


def line(side: str, figure: str, value: float, machine: str, commit: str) -> str:
    """One measurement as JSON."""
    return json.dumps(
        {
            "name": f"boot/{side}/{figure}",
            "unit": UNITS[figure],
            "value": round(value, 3),
            "commit": commit,
            "machine": machine,
        }
    )


def table(results: Results) -> str:
    """Medians side by side, with the spread of several runs, and Orlop as a share of each."""
    sides = list(results)
    width = max(map(len, LABELS.values()))
    lines = [" " * width + "".join(f"{side:>24}" for side in sides)]
    for figure, label in LABELS.items():
        if any(figure in results[side] for side in sides):
            cells = (_cell(results[side].get(figure, ())) for side in sides)
            lines.append(label.ljust(width) + "".join(f"{cell:>24}" for cell in cells))
    lines += _ratios(results)
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    middle = statistics.median(values)
    if len(set(values)) == 1:
        return f"{middle:,.0f}" if middle == int(middle) else f"{middle:,.2f}"
    return f"{middle:,.2f} ({min(values):,.2f}-{max(values):,.2f})"


def _ratios(results: Results) -> list[str]:
    own = results.get("orlop", {})
    lines = []
    for other in results:
        for figure in ("engine_uptime_s", "engine_wall_s", "memory_used_mib", "image_bytes"):
            mine, theirs = own.get(figure), results[other].get(figure)
            if other != "orlop" and mine and theirs and (other, figure) != ("floor", "image_bytes"):
                ratio = statistics.median(mine) / statistics.median(theirs)
                lines.append(f"orlop / {other}, {LABELS[figure].split(',')[0]}: {ratio:.2f}")
    return lines


def machine() -> str:
    """What was measured on, as far as it matters."""
    model = next(
        (
            entry.partition(":")[2].strip()
            for entry in Path("/proc/cpuinfo").read_text().splitlines()
            if entry.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} x {model}"


def commit(checkout: Path) -> str:
    """The commit that is measured, with a + if the tree differs from it."""
    command = ["git", "-C", os.fspath(checkout), "describe", "--always", "--dirty=+", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
