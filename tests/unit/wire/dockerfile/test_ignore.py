"""Path patterns and `.dockerignore`, against tables."""

from __future__ import annotations

import random

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile.ignore import IgnoreRules, parse_ignore
from orlop.wire.dockerfile.pattern import compile_pattern, has_wildcards


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*", "a/b", False),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("[a-ζ]*", "α", True),
        ("*[a-ζ]", "A", False),
        ("[\\]a]", "]", True),
        ("[\\-x]", "-", True),
        ("[-x]", "-", True),
        ("[a^]", "^", True),
        ("a[^b]c", "a/c", False),
        ("a.c", "abc", False),
        ("(a|b)", "a", False),
    ],
)
def test_patterns_of_copy(pattern: str, path: str, expected: bool) -> None:
    assert bool(compile_pattern(pattern).fullmatch(path)) is expected


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[^", "a[", "a\\", "[b-a]", "[a-", "*" * 20])
def test_wrong_patterns(pattern: str) -> None:
    with pytest.raises(InvalidArgument):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    ("path", "expected"), [("a", False), ("a*", True), ("a\\*", False), ("?", True), ("[", True)]
)
def test_what_is_a_pattern(path: str, expected: bool) -> None:
    assert has_wildcards(path) is expected


@pytest.mark.parametrize(
    ("patterns", "ignored", "kept"),
    [
        (["*"], ["a", "a/b", ".hidden"], []),
        (["**"], ["a", "a/b"], []),
        (["a"], ["a", "a/b", "a/b/c"], ["b/a", "ab"]),
        (["/a"], ["a", "a/b"], ["b/a"]),
        (["./a/"], ["a"], []),
        (["a/../b"], ["b"], ["a"]),
        (["*.o"], ["x.o"], ["d/x.o"]),
        (["**/*.o"], ["x.o", "d/x.o", "d/e/x.o"], ["x.c"]),
        (["*/*.o"], ["d/x.o"], ["x.o", "d/e/x.o"]),
        (["d/**"], ["d/x", "d/e/x"], ["d", "x"]),
        (["d/**/x"], ["d/x", "d/e/f/x"], ["d/y"]),
        (["**/x"], ["x", "a/x", "a/x/y"], ["ax"]),
        (["a**b"], ["ab", "axb", "a/x/b"], ["a"]),
        (["*", "!a"], ["b", "b/c"], ["a", "a/b"]),
        (["*.md", "!README*.md", "README-secret.md"], ["x.md", "README-secret.md"], ["README.md"]),
        (["*.md", "README-secret.md", "!README*.md"], ["x.md"], ["README.md", "README-secret.md"]),
        (["d", "!d/e"], ["d", "d/f"], ["d/e", "d/e/x"]),
        (["d", "!d/e", "d/e/x"], ["d/e/x"], ["d/e/y"]),
        (["# comment", "", "  ", "  a  "], ["a"], ["b"]),
        (["!a"], [], ["a", "b"]),
        (["! a", "a"], ["a"], []),
        (["temp?"], ["tempa"], ["temp", "temp/"]),
        (["."], [], ["a"]),
        (["a\\*"], ["a*"], ["ab"]),
        (["[a-c]x"], ["ax"], ["dx"]),
        (["a b"], ["a b"], ["a"]),
        (["node_modules", "**/node_modules"], ["node_modules/x", "a/b/node_modules/c"], ["a/b"]),
    ],
)
def test_dockerignore(patterns: list[str], ignored: list[str], kept: list[str]) -> None:
    rules = IgnoreRules(patterns)
    assert [path for path in ignored if not rules.ignores(path)] == []
    assert [path for path in kept if rules.ignores(path)] == []


def test_the_file_itself() -> None:
    rules = parse_ignore(b"\xef\xbb\xbf*.o\r\n!keep.o\n#x")
    assert [rules.ignores(name) for name in ("a.o", "keep.o", "#x")] == [True, False, False]
    assert not parse_ignore(b"\n# nothing\n")
    with pytest.raises(InvalidArgument, match='illegal exclusion pattern: "!"'):
        parse_ignore(b"!\n")
    with pytest.raises(InvalidArgument, match="larger than"):
        parse_ignore(b"a" * (2 << 20))
    with pytest.raises(InvalidArgument, match="more than"):
        parse_ignore(b"a\n" * 3000)


@pytest.mark.parametrize("seed", range(5))
def test_random_patterns_match_or_are_refused(seed: int) -> None:
    generator = random.Random(seed)
    pieces = ["*", "**", "?", "[", "]", "^", "-", "\\", "/", "a", "b", "!", ".", "..", " "]
    for _ in range(300):
        pattern = "".join(generator.choices(pieces, k=generator.randrange(1, 12)))
        try:
            IgnoreRules([pattern]).ignores("a/b/c")
        except InvalidArgument:
            continue
