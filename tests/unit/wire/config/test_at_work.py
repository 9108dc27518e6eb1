"""tests/keys_at_work.txt: every key of the configuration is seen at work on a machine by a test."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from orlop.wire.config.table import KEYS

REPOSITORY = Path(__file__).parents[4]
TEXT = (REPOSITORY / "tests/keys_at_work.txt").read_text()
ROWS = [
    (words[0], words[1:])
    for line in TEXT.splitlines()
    if (words := line.partition(" : ")[0].split()) and words[0] not in ("#", "-")
]
WITHOUT = [
    pattern
    for line in TEXT.splitlines()
    if line.startswith("- ") and " : " in line
    for pattern in line.partition(" : ")[0].split()[1:]
]


@cache
def text_of(path: str) -> str:
    """The text of a module of tests."""
    return (REPOSITORY / path).read_text()


@cache
def names_in(path: str) -> frozenset[str]:
    nodes = ast.parse(text_of(path)).body
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef))


def means(pattern: str, path: str) -> bool:
    if pattern.endswith(".*"):
        return path.startswith(pattern.removesuffix("*"))
    return path == pattern


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.path)
def test_a_key_is_seen_at_work(key: object) -> None:
    path = str(getattr(key, "path", ""))
    if any(means(each, path) for each in WITHOUT):
        return
    found = [test for test, patterns in ROWS if any(means(each, path) for each in patterns)]
    assert found, (
        f"{path}: add a line to tests/keys_at_work.txt: the test in tests/vm or tests/engine that "
        "sets it on a machine and looks at what it does"
    )
    for test in found:
        module, _, name = test.partition("::")
        assert re.fullmatch(r"tests/(vm|engine)/[\w/]+\.py", module), test
        assert name in names_in(module), f"there is no {test}"
    # The name of the key, or the word that somebody else has for it.
    words = re.findall(r"[a-z0-9_]+", path)[-1:] + [
        re.findall(r"\w+", alias)[-1] for alias in getattr(key, "aliases", ())
    ]
    modules = [text_of(test.partition("::")[0]) for test in found]
    assert any(re.search(rf"\b{word}\b", text) for word in words for text in modules), path


def test_no_row_is_of_a_key_that_is_gone() -> None:
    paths = [key.path for key in KEYS]
    for test, patterns in (*ROWS, ("none", WITHOUT)):
        for pattern in patterns:
            assert any(means(pattern, path) for path in paths), (test, pattern)
