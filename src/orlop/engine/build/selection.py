"""Which files COPY and ADD take, and what they are called where they go. In a worker.

The rules are the Dockerfile reference's: a directory gives its content, a file its name when the
destination is a directory; patterns take what matches; links named as a source are followed, links
inside are copied. Error texts are dockerd's.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.engine.build.trees import Tree, resolve
from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.wire.dockerfile.ignore import IgnoreRules
from orlop.wire.dockerfile.pattern import compile_pattern, has_wildcards
from orlop.wire.tar import Header, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_FILES = 1_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """A source: *path* in the tree, links resolved; *name* as it was matched."""

    path: str
    name: str
    header: Header
    root: str = ""
    """With `--parents`: where the part of the name that is kept begins."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file to be copied. *target* is relative to the destination; empty: the destination."""

    source: str
    target: str
    header: Header
    named: bool = False
    """A file that the instruction names, not one in a directory."""


def find_sources(
    tree: Tree, sources: Sequence[str], *, is_context: bool, parents: bool
) -> list[Found]:
    """What *sources* name, in their order, each pattern's matches sorted.

    Raises:
        InvalidArgument: a source that does not exist, or nothing at all.
    """
    found: list[Found] = []
    for source in sources:
        pivot = ""
        if parents and "/./" in source:
            pivot = posixpath.normpath(source.partition("/./")[0]).lstrip("/") + "/"
        clean = _clean(source, is_context=is_context)
        paths = _matches(tree, clean) if has_wildcards(clean) else [_unescape(clean)]
        found += [_at(tree, path, source, pivot, is_context=is_context) for path in paths]
    return found


def _clean(source: str, *, is_context: bool) -> str:
    path = posixpath.normpath(source.lstrip("/") or ".")
    if path == ".." or path.startswith("../"):
        if is_context:
            raise InvalidArgument(f"forbidden path outside the build context: {source} ()")
        path = posixpath.normpath(f"/{path}").lstrip("/")
    return "" if path == "." else path


def _unescape(path: str) -> str:
    parts: list[str] = []
    escaped = False
    for char in path:
        if char == "\\" and not escaped:
            escaped = True
            continue
        parts.append(char)
        escaped = False
    return "".join(parts)


def _at(tree: Tree, path: str, source: str, pivot: str, *, is_context: bool) -> Found:
    resolved = resolve(tree, path)
    header = tree.lstat(resolved)
    if header is None:
        text = f"stat {source.lstrip('/')}: file does not exist"
        if is_context:
            text = f"file not found in build context or excluded by .dockerignore: {text}"
        raise InvalidArgument(text)
    return Found(resolved, path, header, pivot)


def _matches(tree: Tree, pattern: str) -> list[str]:
    """Paths that fit, one directory level of the pattern after the other."""
    level = [""]
    for part in pattern.split("/"):
        following: list[str] = []
        if has_wildcards(part):
            expression = compile_pattern(part)
            for directory in level:
                names = _names(tree, directory)
                following += [_join(directory, n) for n in names if expression.fullmatch(n)]
        else:
            name = _unescape(part)
            paths = [_join(directory, name) for directory in level]
            following = [path for path in paths if tree.lstat(resolve(tree, path)) is not None]
        level = following
        if len(level) > MAX_FILES:
            raise ResourceExhausted(f"more than {MAX_FILES} files match {pattern[:80]}")
    return sorted(level)


def _names(tree: Tree, directory: str) -> list[str]:
    resolved = resolve(tree, directory)
    header = tree.lstat(resolved)
    return tree.names(resolved) if header is not None and header.kind is Kind.DIRECTORY else []


def _join(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def list_items(
    tree: Tree, found: Sequence[Found], *, into_directory: bool, parents: bool, exclude: IgnoreRules
) -> list[Item]:
    """All files of *found*, directories before what is in them.

    *into_directory*: the destination is a directory, so that a file keeps its name.

    Raises:
        ResourceExhausted: too many.
    """
    items: list[Item] = []
    for source in found:
        if parents:
            kept = source.name.removeprefix(source.root)
            items += _parents_of(tree, source, kept)
            base = kept
        elif source.header.kind is Kind.DIRECTORY:
            base = ""
        else:
            base = posixpath.basename(source.name) if into_directory else ""
        for item in _walk(tree, source, base):
            below = item.source.removeprefix(source.path).lstrip("/")
            if exclude and any(path and exclude.ignores(path) for path in (item.source, below)):
                continue
            items.append(item)
            if len(items) > MAX_FILES:
                raise ResourceExhausted(f"more than {MAX_FILES} files in one instruction")
    return items


def _parents_of(tree: Tree, source: Found, kept: str) -> Iterator[Item]:
    parts = kept.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        target = "/".join(parts[:count])
        path = resolve(tree, source.root + target)
        header = tree.lstat(path)
        if header is not None and header.kind is Kind.DIRECTORY:
            yield Item(path, target, header)


def _walk(tree: Tree, source: Found, base: str) -> Iterator[Item]:
    waiting = [(source.path, base, source.header)]
    while waiting:
        path, target, header = waiting.pop()
        yield Item(path, target, header, path == source.path and header.kind is Kind.FILE)
        if header.kind is Kind.DIRECTORY:
            below = []
            for name in tree.names(path):
                child = tree.lstat(_join(path, name))
                if child is not None:
                    below.append((_join(path, name), _join(target, name), child))
            waiting += reversed(below)


def change_mode(header: Header, change: str) -> Header:
    """*header* with `--chmod`: octal, or `u=rwX,go=rX` and the like; links have no mode.

    Raises:
        InvalidArgument: neither.
    """
    if not change or header.kind is Kind.SYMLINK:
        return header
    if change.isascii() and change.isdigit():
        try:
            mode = int(change, 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o7777:
            raise InvalidArgument(f"invalid chmod parameter: '{change}'. it should be octal string")
        return replace(header, mode=mode)
    mode = header.mode
    for clause in change.split(","):
        mode = _apply_clause(mode, clause, change, is_directory=header.kind is Kind.DIRECTORY)
    return replace(header, mode=mode)


_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}


def _apply_clause(mode: int, clause: str, change: str, *, is_directory: bool) -> int:
    who_text = clause[: len(clause) - len(clause.lstrip("ugoa"))]
    operator, letters = clause[len(who_text) :][:1], clause[len(who_text) + 1 :]
    if operator not in ("+", "-", "=") or set(letters) - set("rwxXst"):
        raise InvalidArgument(f"invalid chmod parameter: '{change}'")
    who = {"u", "g", "o"} if not who_text or "a" in who_text else set(who_text)
    mask = sum(_WHO[name] for name in who)
    bits = sum(_BITS.get(letter, 0) for letter in set(letters)) & mask
    if "X" in letters and (is_directory or mode & 0o111):
        bits |= 0o111 & mask
    if "s" in letters:
        bits |= 0o6000 & mask
    if "t" in letters:
        bits |= 0o1000
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    return mode & ~(mask & 0o777) | bits


def item_key(item: Item, digest: str) -> list[object]:
    """What of *item* counts for the cache: everything but its time."""
    header = item.header
    return [
        item.target,
        header.kind.value,
        header.mode,
        header.uid,
        header.gid,
        os.fsdecode(header.link),
        list(header.device),
        digest,
        sorted((key.hex(), value.hex()) for key, value in header.xattrs.items()),
    ]
