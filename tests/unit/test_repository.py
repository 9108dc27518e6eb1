"""Rules of the repository that no tool checks: what may not be in it, and what belongs together."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN_NAME = Path(__file__).relative_to(ROOT).as_posix()
MAX_LINES = 500
REASONS = {
    "src/orlop/engine/container/container.py": "the owner task of a container: all changes of "
    "its state, which can only be judged together",
}
"""Modules that are longer, and why."""
BINARY_SUFFIXES = frozenset({".png", ".bin", ".gz", ".zst", ".xz", ".raw"})

FOREIGN_HOSTS = re.compile(
    r"deb\.debian\.org|(?:snapshot|security|ftp[.\w]*)\.debian\.org|debian\.net"
    r"|pypi\.org|pythonhosted\.org|npmjs\.org|crates\.io|proxy\.golang\.org"
    r"|ghcr\.io|quay\.io|registry-1\.docker\.io"
)
"""Archives and registries: what the host is configured for is used, whatever that is."""
MACHINE_PATHS = re.compile(r"(?<![\w.])/work/(?:main|shared)|/root/(?:x|notes)\b")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
MARKDOWN_LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)\s#]+)(?:#[^)]*)?\)")
ADR_NAME = re.compile(r"\d{4}-[a-z0-9-]+\.md")


def tracked() -> list[Path]:
    """The files of the repository, whole and readable as text."""
    done = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files", "-z", "--cached"],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix not in BINARY_SUFFIXES]


def python_files() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py"]


def matches(pattern: re.Pattern[str], paths: list[Path]) -> Iterator[str]:
    """`path:line: text` for each place where *pattern* is found; this file has them all."""
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        if name == OWN_NAME:
            continue
        text = path.read_text(errors="replace")
        for found in pattern.finditer(text):
            yield f"{name}:{text.count('\n', 0, found.start()) + 1}: {found[0]}"


def test_no_archive_or_registry_is_named() -> None:
    assert list(matches(FOREIGN_HOSTS, tracked())) == []


def test_no_path_of_somebodys_machine_is_named() -> None:
    assert list(matches(MACHINE_PATHS, tracked())) == []


def test_nothing_is_left_unfinished() -> None:
    code = [path for path in tracked() if path.suffix in {".py", ".c", ".sh", ".toml", ".yml"}]
    assert list(matches(UNFINISHED, code)) == []


def test_modules_are_small() -> None:
    too_long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in python_files()
        if (lines := path.read_text().count("\n")) > MAX_LINES
        and path.relative_to(ROOT).as_posix() not in REASONS
    }
    assert too_long == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in python_files()
        if path.name != "__init__.py" and not _begins_with_docstring(path.read_text())
    ]
    assert silent == []


def test_packages_are_empty() -> None:
    full = [
        path.relative_to(ROOT).as_posix()
        for path in python_files()
        if path.name == "__init__.py" and path.read_text() and path.parent.name != "orlop"
    ]
    assert full == []


def test_pid_1_starts_processes_in_one_way() -> None:
    """`lib.children`: a child that two places reap, or a fork beside threads, is a fault."""
    layers = ("lib", "wire", "engine", "system")
    paths = [
        path
        for path in python_files()
        if path.relative_to(ROOT).parts[:2] == ("src", "orlop")
        and path.relative_to(ROOT).parts[2] in layers
    ]
    pattern = re.compile(
        r"preexec_fn|shell=True|\bos\.(?:fork|system|popen)\(|asyncio\.create_subp"
    )
    assert list(matches(pattern, paths)) == []


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in tracked()
        if path.suffix == ".md"
        for target in MARKDOWN_LINK.findall(path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_every_document_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    documents = [
        path.relative_to(ROOT / "docs").as_posix()
        for path in tracked()
        if path.is_relative_to(ROOT / "docs") and path.parent.name != "adr"
        # A command's page is in the list that orlop(1) has.
        if not path.match("docs/man/orlop-*.1")
    ]
    assert [name for name in documents if name != "README.md" and f"]({name})" not in index] == []


def test_decisions_have_their_parts_and_are_in_the_index() -> None:
    folder = ROOT / "docs/adr"
    index = (folder / "README.md").read_text()
    wrong = []
    numbers = []
    for path in tracked():
        if path.parent != folder or path.name == "README.md":
            continue
        text = path.read_text()
        numbers.append(path.name[:4])
        wanted = ("Status:", "## Context", "## Decision", "## Rejected", "## What would change it")
        wrong += [f"{path.name}: no {part!r}" for part in wanted if part not in text]
        if not ADR_NAME.fullmatch(path.name) or f"]({path.name})" not in index:
            wrong.append(f"{path.name}: not in the index")
    assert wrong == []
    assert len(numbers) == len(set(numbers)), "a number is used twice"


def test_every_service_is_documented() -> None:
    text = (ROOT / "docs/services.md").read_text()
    names = sorted(path.parent.name for path in (ROOT / "os/services").glob("*/service.yml"))
    assert names
    assert [name for name in names if f"\n## {name}\n" not in text] == []


def test_every_command_of_the_machine_is_documented() -> None:
    from orlop.cli.commands import COMMANDS

    text = (ROOT / "docs/cli.md").read_text()
    assert [name for name in COMMANDS if not re.search(rf"`(?:orlop )?{name}\b", text)] == []


def _begins_with_docstring(text: str) -> bool:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return not lines or lines[0].startswith(('"""', 'r"""'))
