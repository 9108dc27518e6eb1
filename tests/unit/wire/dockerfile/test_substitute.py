"""Variables, quotes, escapes and patterns in words."""

from __future__ import annotations

import random

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile.substitute import substitute, substitute_words

VALUES = {
    "a": "A",
    "empty": "",
    "path": "/usr/local/bin",
    "sp": "x  y",
    "dots": "a.b.c",
    "stars": "a*b?c",
    "ä": "umlaut",
}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", "plain"),
        ("$a", "A"),
        ("${a}b", "Ab"),
        ("$ab", ""),
        ("$a.b", "A.b"),
        ("$", "$"),
        ("a$", "a$"),
        ("$/", "$/"),
        ("$1x", "x"),
        ("$?y", "y"),
        ("$ä", "umlaut"),
        ("\\$a", "$a"),
        ("\\a\\\\", "a\\"),
        ("'$a'", "$a"),
        ("'a\\'", "a\\"),
        ('"$a\'s"', "A's"),
        ('"\\"\\$\\a\\\\"', '"$\\a\\'),
        ("''", ""),
        ("a\\", "a"),
        ("${a:-x}${no:-x}${empty:-x}", "Axx"),
        ("${a-x}${no-x}${empty-x}", "Ax"),
        ("${a:+x}${no:+x}${empty:+x}", "x"),
        ("${a+x}${no+x}${empty+x}", "xx"),
        ("${a:?x}${empty?x}", "A"),
        ("${no:-$a}", "A"),
        ("${no:-${no:-${a}}}", "A"),
        ("${no:-'}'}", "}"),
        ("${no:-\\}}", "}"),
        ("${no:-a b}", "a b"),
        ("${path#*/}", "usr/local/bin"),
        ("${path##*/}", "bin"),
        ("${path%/*}", "/usr/local"),
        ("${path%%/*}", ""),
        ("${path#x}", "/usr/local/bin"),
        ("${dots%.?}", "a.b"),
        ("${dots#?}", ".b.c"),
        ("${stars#a\\*}", "b?c"),
        ("${stars%\\?c}", "a*b"),
        ("${dots/./-}", "a-b.c"),
        ("${dots//./-}", "a-b-c"),
        ("${dots//[.]/-}", "a.b.c"),
        ("${path/*\\//}", "bin"),
        ("${path//\\//_}", "_usr_local_bin"),
        ("${a//A/}", ""),
        ("${no/a/b}", ""),
        ("${a//x*/y}", "A"),
        ("${a/A/\\}}", "}"),
        ("${path#$a}", "/usr/local/bin"),
    ],
)
def test_substitution(word: str, expected: str) -> None:
    assert substitute(word, VALUES) == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("${", "syntax error: missing '}'"),
        ("${a", "syntax error: missing '}'"),
        ("${a:", "syntax error: missing '}'"),
        ("${a:-", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution"),
        ("${{a}", "syntax error: bad substitution"),
        ("${:a}", "syntax error: bad substitution"),
        ("${a!x}", "unsupported modifier (!) in substitution"),
        ("${a:=x}", "unsupported modifier (:=) in substitution"),
        ("${a^^}", "unsupported modifier (^) in substitution"),
        ("${no:?is needed}", "no: is needed"),
        ("${no?}", "no: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${a/x", "syntax error: missing '/' in ${}"),
        ("${a/x/y", "syntax error: missing '}'"),
        ("${a#\\a}", "invalid pattern (\\a) in substitution: invalid escape '\\a'"),
        ("'a", "looking for matching single-quote"),
        ('"a', "looking for matching double-quote"),
        ("${no:-" * 60 + "}" * 60, "more than 50 substitutions inside each other"),
    ],
)
def test_errors(word: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        substitute(word, VALUES)
    assert "failed to process" in str(caught.value)
    assert message in str(caught.value)


def test_the_escape_may_be_another() -> None:
    assert substitute("C:\\x`$a", VALUES, escape="`") == "C:\\x$a"


def test_quotes_may_be_plain() -> None:
    assert substitute('it\'s "$a" \\$a', VALUES, quotes=False) == 'it\'s "A" $a'


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("$sp", ["x", "y"]),
        ('"$sp"', ["x  y"]),
        ("a${sp}b", ["ax", "yb"]),
        ("$empty", []),
        ("a\\ b", ["a b"]),
        ("${no:-80 81}", ["80", "81"]),
    ],
)
def test_words_are_split_where_values_bring_space(word: str, expected: list[str]) -> None:
    assert substitute_words(word, VALUES) == expected


def test_results_and_work_are_bounded() -> None:
    with pytest.raises(InvalidArgument, match="characters"):
        substitute("$x" * 40, {"x": "y" * 100_000})
    with pytest.raises(InvalidArgument, match="takes too long"):
        substitute("${x//*a*a*a*a*b/}", {"x": "a" * 3000})


@pytest.mark.parametrize("seed", range(10))
def test_random_words_are_replaced_or_refused(seed: int) -> None:
    generator = random.Random(seed)
    pieces = [
        "$",
        "{",
        "}",
        "a",
        "path",
        ":",
        "-",
        "+",
        "?",
        "#",
        "%",
        "/",
        "\\",
        "'",
        '"',
        "*",
        " ",
    ]
    for _ in range(500):
        word = "".join(generator.choices(pieces, k=generator.randrange(1, 25)))
        try:
            substitute(word, VALUES)
            substitute_words(word, VALUES)
        except InvalidArgument:
            continue
