"""Keys follow content, and nothing else."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import orlop.image.step_key as step_key_module
from orlop.image import boot_loader, release_steps, uki
from orlop.image.step import Inputs, Step, StepContext
from orlop.image.step_key import check_steps, step_key
from orlop.image.tree_hash import hash_input, hash_result
from orlop.lib.errors import InvalidArgument


def nothing(context: StepContext, *, word: str = "") -> None:
    """Do nothing."""


def key(inputs: Inputs, *, epoch: int = 1, tools: dict[str, str] | None = None) -> str:
    return step_key(Step("step", nothing, inputs), {}, epoch=epoch, tools=tools or {})


def make_tree(root: Path) -> Path:
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "file").write_text("content")
    (root / "link").symlink_to("folder/file")
    return root


def test_path_and_dates_do_not_count(tmp_path: Path) -> None:
    one = make_tree(tmp_path / "one" / "tree")
    two = make_tree(tmp_path / "two" / "tree")
    os.utime(two / "folder" / "file", (1, 1))

    assert key(Inputs(files=(one,))) == key(Inputs(files=(two,)))


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "folder" / "file").write_text("other"),
        lambda tree: (tree / "folder" / "file").chmod(0o755),
        lambda tree: (tree / "folder" / "file").rename(tree / "folder" / "name"),
        lambda tree: (tree / "folder" / "new").touch(),
        lambda tree: (tree / "empty").mkdir(),
        lambda tree: ((tree / "link").unlink(), (tree / "link").symlink_to("elsewhere")),
    ],
    ids=["content", "executable", "name", "new file", "new directory", "link target"],
)
def test_content_counts(tmp_path: Path, change: "functools.partial[object]") -> None:
    tree = make_tree(tmp_path / "tree")
    before = hash_input(tree)
    change(tree)

    assert hash_input(tree) != before


def test_compiled_modules_in_a_tree_do_not_count(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    before = hash_input(tree)
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "x.pyc").touch()

    assert hash_input(tree) == before


def test_values_do_not_run_into_each_other() -> None:
    assert key(Inputs(values=("ab", "c"))) != key(Inputs(values=("a", "bc")))


def test_epoch_and_tools_count() -> None:
    base = key(Inputs(), tools={"gcc": "1"})

    assert key(Inputs(), epoch=2, tools={"gcc": "1"}) != base
    assert key(Inputs(), tools={"gcc": "2"}) != base


def test_named_tools_alone_count() -> None:
    inputs = Inputs(tools=("gcc",))

    assert key(inputs, tools={"gcc": "1", "mypy": "1"}) == key(inputs, tools={"gcc": "1"})
    with pytest.raises(InvalidArgument, match="uses gcc, which the tool root lacks"):
        check_steps([Step("step", nothing, inputs)], {})


def test_contents_of_needs_count() -> None:
    step = Step("two", nothing, Inputs(needs=("one",)))

    def with_content(content: str) -> str:
        return step_key(step, {"one": content, "other": content}, epoch=1, tools={})

    assert with_content("a") != with_content("b")


def test_permissions_of_results_count(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    before = hash_result(tree)
    os.utime(tree / "folder" / "file", (1, 1))
    assert hash_result(tree) == before

    (tree / "folder" / "file").chmod(0o600)
    assert hash_result(tree) != before


def code_key(module: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    import importlib
    import sys

    module.write_text(text)
    monkeypatch.syspath_prepend(str(module.parent))
    sys.modules.pop(module.stem, None)
    importlib.invalidate_caches()
    step_key_module._module_code.cache_clear()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    run = importlib.import_module(module.stem).run
    return step_key(Step("step", run), {}, epoch=1, tools={})


def test_statements_count_and_comments_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "some_step.py"
    plain = code_key(module, monkeypatch, "def run(context):\n    return 1\n")
    commented = code_key(
        module,
        monkeypatch,
        '"""Doc."""\n\n\ndef run(context):\n    "Doc."\n    # why\n    return 1\n',
    )
    changed = code_key(module, monkeypatch, "def run(context):\n    return 12\n")

    assert plain == commented
    assert plain != changed


def test_missing_input_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="does not exist"):
        key(Inputs(files=(tmp_path / "missing",)))


@pytest.mark.parametrize(
    ("run", "module"),
    [
        (boot_loader.build_loader, "orlop.lib.bios_loader"),
        (uki.build_uki, "orlop.lib.unified_image"),
        (release_steps.build_iso, "orlop.lib.unified_image"),
        (release_steps.build_iso, "orlop.lib.bios_loader"),
    ],
)
def test_what_of_the_library_makes_bytes_of_a_result_counts(
    run: Callable[..., object], module: str
) -> None:
    assert module in [name for name, _ in step_key_module._code(run)]
