"""The index of a catalogue, `index.json`: what it offers. Pure; read by a worker.

    {"services": {NAME: {"description": TEXT, "definition": PATH, "sha256": HEX,
                         "images": {REFERENCE: {"archive": PATH, "digest": DIGEST,
                                                "size_bytes": NUMBER}}}},
     "consoles": {...}, "engines": {...}}

What does not have this form is left out: a newer catalogue may offer more than this system knows.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument, NotFound
from orlop.wire.compose_values import nearest

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json

SECTIONS = ("services", "consoles", "engines")
MAX_ENTRIES = 2048
MAX_TEXT = 1024


def read(place: str, text: str) -> dict[str, Json]:
    """What the index *text*, called *place* in errors, offers: the three sections.

    Raises:
        InvalidArgument: it is no JSON.
    """
    try:
        found = _map(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{place}/index.json: no JSON: {error}") from error
    return {
        section: {
            name: _entry(_map(value))
            for name, value in list(_map(found.get(section)).items())[:MAX_ENTRIES]
            if len(name) <= MAX_TEXT
        }
        for section in SECTIONS
    }


def choose(place: str, text: str, section: str, name: str) -> dict[str, Json]:
    """The entry *name* of *section*.

    Raises:
        NotFound: there is none. InvalidArgument: the index is no JSON.
    """
    entries = _map(read(place, text).get(section))
    if name not in entries:
        guess = nearest(name, [*entries])
        also = f" (did you mean {guess}?)" if guess else ""
        raise NotFound(f"the catalogue {place} has no {name}{also}")
    return _map(entries[name])


def _entry(found: dict[str, Json]) -> Json:
    images: dict[str, Json] = {}
    for reference, value in list(_map(found.get("images")).items())[:MAX_ENTRIES]:
        row = _map(value)
        size = row.get("size_bytes")
        images[reference[:MAX_TEXT]] = {
            **_texts(row, "archive", "digest"),
            "size_bytes": size if isinstance(size, int) else 0,
        }
    return {**_texts(found, "description", "definition", "sha256"), "images": images}


def _texts(found: dict[str, Json], *keys: str) -> dict[str, Json]:
    return {key: str(found.get(key, ""))[:MAX_TEXT] for key in keys}


def _map(value: object) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}
