"""Imports point down only. The table is the architecture; a new arrow is a decision, made here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "orlop"

ALLOWED = {
    "lib": {"lib"},
    "wire": {"wire", "lib"},
    "engine": {"engine", "wire", "lib"},
    "system": {"system", "engine", "wire", "lib"},
    "services": {"services", "wire", "lib"},
    "toolroot": {"toolroot", "lib"},
    "image": {"image", "wire", "lib"},
    "vm": {"vm", "lib"},
    "cli": {"cli", "wire", "lib"},
    "cli/host": {"cli", "image", "vm", "toolroot", "engine", "wire", "lib"},
}
"""Layer -> layers it may import. The host's commands may use the builder, and the engine's
registry client to push releases; the guest's may not."""


def layer_of(path: Path) -> str:
    package, *rest = path.relative_to(SOURCE).parts
    return "cli/host" if package == "cli" and rest[0] == "host" else package


def imported_layers(path: Path) -> Iterator[tuple[int, str]]:
    """Line and layer of each import of Orlop's own code, at any depth of the module."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module="orlop", names=names):
                modules = [f"orlop.{alias.name}" for alias in names]
            case ast.ImportFrom(module=str(module)):
                modules = [module]
            case _:
                continue
        for module in modules:
            parts = module.split(".")
            if parts[0] == "orlop" and len(parts) > 1 and parts[1] in ALLOWED:
                yield node.lineno, parts[1]


@pytest.mark.parametrize("layer", ALLOWED)
def test_imports_point_down(layer: str) -> None:
    wrong = [
        f"{path.relative_to(SOURCE)}:{line}: {layer} may not import {imported}"
        for path in sorted(SOURCE.glob("*/**/*.py"))
        if layer_of(path) == layer
        for line, imported in imported_layers(path)
        if imported not in ALLOWED[layer]
    ]

    assert wrong == []


def test_every_package_is_in_the_table() -> None:
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}

    assert packages == set(ALLOWED) - {"cli/host"}
