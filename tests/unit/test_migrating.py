"""docs/migrating-from-rancheros.md: the tests that it names are there, and its sums are right."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

TEXT = (REPOSITORY / "docs/migrating-from-rancheros.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in TEXT.partition("## What RancherOS had")[2].splitlines()
    if line.startswith("| ") and not line.startswith("| RancherOS")
]


@cache
def functions_in(path: str) -> set[str]:
    tree = ast.parse((REPOSITORY / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_there_are_rows() -> None:
    assert len(ROWS) > 200
    assert all(len(row) == 3 for row in ROWS), [row for row in ROWS if len(row) != 3]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_has_a_test_or_a_reason(row: list[str]) -> None:
    found = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[2])
    for path, name in found:
        assert name in functions_in(path), f"{path} has no {name}"
    if not found:
        assert row[1].startswith(("left out", "left to")), row


def test_the_sums_are_right() -> None:
    left_out = sum("tests/" not in row[2] for row in ROWS)
    assert f"{len(ROWS)} rows, {len(ROWS) - left_out} of them shown by a test" in TEXT
