"""The recipe of a delta is read or refused in our own words, and asks for no more than is allowed;
what is read means the same once it is written and read again."""

from __future__ import annotations

from orlop.lib.errors import OrlopError
from orlop.wire.recompression import (
    MAX_TOTAL_BYTES,
    Cluster,
    Recipe,
    expanded_bytes,
    format_recipe,
    parse_recipe,
)

SEEDS = (
    format_recipe(Recipe(6, 1 << 19, (Cluster(1, 2, 3),), (Cluster(4, 5, 6, 7),))),
    format_recipe(Recipe(0, 4096, (), ())),
)
TOKENS = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\0\0\0\x80", b"orlop")


def check(data: bytes) -> None:
    try:
        found = parse_recipe(data)
    except OrlopError:
        return
    if found is not None:
        recipe, start = found
        assert format_recipe(recipe) == data[:start]
        for clusters in (recipe.old, recipe.new):
            assert expanded_bytes(0, clusters) <= MAX_TOTAL_BYTES
