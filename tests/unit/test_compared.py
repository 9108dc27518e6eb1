"""docs/compared.md: what is said of this system is shown by tests that are there."""

import re

import pytest

from tests.unit.test_migrating import REPOSITORY, functions_in

ROWS = [
    line.strip("| ").split(" | ")
    for line in (REPOSITORY / "docs/compared.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| |")
]


def test_there_are_rows() -> None:
    assert len(ROWS) >= 13
    assert {len(row) for row in ROWS} == {8}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_names_its_tests(row: list[str]) -> None:
    found = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[-1])
    assert found
    for path, name in found:
        assert name in functions_in(path), f"{path} has no {name}"
