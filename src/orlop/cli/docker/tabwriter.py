"""Aligning columns as Go's text/tabwriter does, which decides how every table of docker looks.

A cell is ended by a tab; what follows the last tab of a line is no cell and is not padded. A
column is a block of neighbouring lines that have the cell, as wide as its widest and the padding.
"""

from __future__ import annotations

MIN_WIDTH = 10
PADDING = 3


def align(text: str, *, min_width: int = MIN_WIDTH, padding: int = PADDING) -> str:
    """*text* with its tabs replaced by spaces."""
    lines = [line.split("\t") for line in text.split("\n")]
    widths = [[0] * (len(cells) - 1) for cells in lines]
    deepest = max(map(len, widths), default=0)
    for column in range(deepest):
        start = 0
        while start < len(lines):
            if len(widths[start]) <= column:
                start += 1
                continue
            end = start
            while end < len(lines) and len(widths[end]) > column:
                end += 1
            width = max(len(cells[column]) for cells in lines[start:end]) + padding
            for line in widths[start:end]:
                line[column] = max(width, min_width)
            start = end
    return "\n".join(
        "".join(map(str.ljust, cells, sizes)) + cells[-1]
        for cells, sizes in zip(lines, widths, strict=True)
    )
