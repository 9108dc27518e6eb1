"""Every parser of wire/ with inputs of no particular kind: a few here, many with `--long`."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.fuzz import mutation

FOLDER = Path(mutation.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("fuzz_*.py"))
SHORT_EXECUTIONS = 150
LONG_S = 60.0
NUMBER = 20240


def load(name: str) -> mutation.Target:
    target: mutation.Target = importlib.import_module(f"tests.fuzz.{name}")
    return target


@pytest.mark.parametrize("name", NAMES)
def test_short(name: str) -> None:
    target = load(name)
    assert target.SEEDS
    assert mutation.run(target, NUMBER, executions=SHORT_EXECUTIONS) == SHORT_EXECUTIONS


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_long(name: str) -> None:
    executions = mutation.run(load(name), NUMBER + 1, seconds=LONG_S)
    print(f"{name}: {executions} executions")
