"""How the rest of an instruction's line is cut into arguments.

Quotes and escapes stay in the words here: what they mean is decided when variables are replaced
(`substitute`). Source: the Dockerfile reference and BuildKit's frontend/dockerfile/parser.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

BLANK = re.compile(r"[\t\v\f\r ]+")


def split_words(text: str, escape: str) -> list[str]:
    """Words between white space; quotes join, and stay. An escape at the very end is dropped."""
    words: list[str] = []
    word: list[str] = []
    quoted = False
    for piece, quote in _pieces(text, escape):
        if not quote and piece.isspace():
            if word or quoted:
                words.append("".join(word))
            word, quoted = [], False
        else:
            word.append(piece)
            quoted = quoted or bool(quote)
    if word or quoted:
        words.append("".join(word))
    return words


def _pieces(text: str, escape: str) -> Iterator[tuple[str, str]]:
    """Characters, or an escape with what follows it, each with the quote that it stands in."""
    position, quote = 0, ""
    while position < len(text):
        char = text[position]
        if char == escape and quote != "'":
            pair = text[position : position + 2]
            position += 2
            if len(pair) == 2:
                yield pair, quote or "\\"
            continue
        position += 1
        if quote:
            yield char, quote
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
            yield char, quote
        else:
            yield char, ""


def split_flags(text: str, escape: str) -> tuple[tuple[str, ...], str]:
    """`--name=value` words at the beginning, unquoted, and the rest; a `--` alone ends them."""
    flags: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if not text.startswith("--", position):
            return tuple(flags), text[position:]
        word, position = _unquoted_word(text, position, escape)
        if word == "--":
            return tuple(flags), text[position:].lstrip()
        flags.append(word)


def _unquoted_word(text: str, position: int, escape: str) -> tuple[str, int]:
    word: list[str] = []
    quote = ""
    while position < len(text):
        char = text[position]
        if char == escape and quote != "'" and position + 1 < len(text):
            word.append(text[position + 1])
            position += 2
            continue
        if not quote and char.isspace():
            break
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            word.append(char)
        position += 1
    return "".join(word), position


def split_blank(text: str) -> tuple[str, ...]:
    """Cut at white space and at nothing else."""
    return tuple(part for part in BLANK.split(text) if part)


def parse_array(text: str) -> tuple[str, ...] | None:
    """The strings of a JSON array; None when *text* is none, which is the shell's form then.

    Raises:
        InvalidArgument: an array with something else than strings in it.
    """
    if not text.lstrip().startswith("["):
        return None
    try:
        items = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise InvalidArgument(
            "when using JSON array syntax, arrays must be comprised of strings only"
        )
    return tuple(items)


def split_pairs(text: str, keyword: str, escape: str) -> tuple[str, ...]:
    """`name=value …`, or the old `name value`; names and values in turn.

    Raises:
        InvalidArgument: neither.
    """
    words = split_words(text, escape)
    if not words:
        return ()
    if "=" not in words[0]:
        name, *value = BLANK.split(text, maxsplit=1)
        if not value:
            raise InvalidArgument(f"{keyword} must have two arguments")
        return name, value[0]
    pairs: list[str] = []
    for word in words:
        name, equals, value_text = word.partition("=")
        if not equals:
            raise InvalidArgument(
                f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value'
            )
        pairs += [name, value_text]
    return tuple(pairs)
