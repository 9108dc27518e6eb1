"""Figures as lines for programs, and as a Markdown table of medians for people."""

import json
import math
import statistics
from collections.abc import Iterable

from bench.engine.contestants import SIDES
from bench.engine.measure import Sample

HIGHER_IS_BETTER = frozenset({"MB/s", "1/s"})


def line(sample: Sample, machine: str, commit: str) -> str:
    """One measurement as JSON; null is what was not finished."""
    name = f"engine/{sample.side}/{sample.figure}"
    number = None if math.isnan(sample.value) else round(sample.value, 3)
    value = {"name": name, "unit": sample.unit, "value": number}
    return json.dumps(value | {"commit": commit, "machine": machine})


def table(samples: Iterable[Sample]) -> str:
    """Medians side by side; after each of the others, how many times Orlop's figure it is.

    Above 1 Orlop does better, whether less is better or more.
    """
    values: dict[str, dict[str, list[float]]] = {}
    units: dict[str, str] = {}
    for sample in samples:
        values.setdefault(sample.figure, {}).setdefault(sample.side, []).append(sample.value)
        units[sample.figure] = sample.unit
    sides = [side for side in SIDES if any(side in row for row in values.values())]
    lines = ["| | " + " | ".join(sides) + " |", "|---" + "|--:" * len(sides) + "|"]
    for figure, row in values.items():
        unit = "" if units[figure] == "1" else f", {units[figure]}"
        medians = {side: statistics.median(found) for side, found in row.items()}
        cells = (_cell(side, medians, units[figure]) for side in sides)
        lines.append(f"| {figure}{unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(side: str, medians: dict[str, float], unit: str) -> str:
    value, ours = medians.get(side), medians.get("orlop")
    if value is None:
        return ""
    if math.isnan(value):
        return "×"
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    if side == "orlop" or not ours or not value or unit == "1":
        return text
    ratio = ours / value if unit in HIGHER_IS_BETTER else value / ours
    return f"{text} ({ratio:.2g}×)"
