"""One document of the machine's configuration, checked as a whole against the table of keys.

A document with an error counts for nothing, so that no file is ever half in force. A list's key may
be written with a `+` behind it: its items are then added to those of the documents below.

Runs where the input may be hostile: in the configuration worker, on a developer's machine. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.wire.compose_values import MAX_ITEMS, Fields, nearest
from orlop.wire.config.rancher import translate
from orlop.wire.config.table import EACH, KEYS, NAME, NAMES, RULES, SHORT_FORMS, fits, split_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json
    from orlop.wire.config.rancher import Notice
    from orlop.wire.config.table import Key, Path
    from orlop.wire.located_yaml import LocatedYaml

APPEND = "+"
WHAT = "configuration"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a document sets, in normal form; the place of each value; what to tell about it."""

    data: dict[str, Json]
    origins: Mapping[Path, str]
    notices: tuple[Notice, ...] = ()


def check_document(document: LocatedYaml) -> Checked:
    """Check *document*.

    Raises:
        InvalidArgument: names the file, the line, the key and, where there is one, the right word.
    """
    if document.data is None:
        return Checked({}, {})
    notices: tuple[Notice, ...] = ()
    if isinstance(document.data, dict):
        document, notices = translate(document)
    fields = Fields(WHAT, document.data, (), document.locate)
    rows = [(key.segments, key) for key in KEYS]
    data = _check(fields, rows, ())
    origins = {leaf: document.locate(leaf).removesuffix(": ") for leaf in leaves(data)}
    return Checked(data, origins, notices)


def _check(fields: Fields, rows: list[tuple[Path, Key]], place: Path) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name in dict.fromkeys(path[0] for path, _ in rows):
        inner = [(path[1:], key) for path, key in rows if path[0] == name]
        if name == NAME:
            return _check_named(fields, inner, place)
        if inner[0][0][:1] == (EACH,):
            _check_items(
                fields, name, [(path[1:], key) for path, key in inner], (*place, name), found
            )
        elif inner[0][0]:
            nested = fields.nested(name)
            if nested is not None:
                found[name] = _check(nested, inner, (*place, name))
        else:
            _check_value(fields, name, inner[0][1], found)
    fields.finish()
    return found


def _check_items(
    fields: Fields,
    name: str,
    rows: list[tuple[Path, Key]],
    place: Path,
    found: dict[str, Json],
) -> None:
    """A list of maps, each with *rows*."""
    where = (*place, EACH)
    rule = next((RULES[path] for path in RULES if fits(path, where)), None)
    expand = SHORT_FORMS.get(where)
    for spelled in (name, name + APPEND):
        value = fields.take(spelled)
        if value is None:
            continue
        if not isinstance(value, list):
            fields.fail(spelled, "must be a list of maps")
        if name in found:
            fields.fail(spelled, f"is here beside {name}: one of them says it all")
        if len(value) > MAX_ITEMS:
            fields.fail(spelled, f"has more than {MAX_ITEMS} items")
        items: list[Json] = []
        for index, item in enumerate(value):
            inner = fields.inner(f"{spelled}[{index}]", expand(item) if expand else item)
            checked = _check(inner, rows, place)
            items.append(checked if rule is None else rule(inner, checked))
        found[spelled] = items


def _check_value(fields: Fields, name: str, key: Key, found: dict[str, Json]) -> None:
    for spelled in (name, name + APPEND):
        if not fields.is_set(spelled):
            if spelled == name or key.kind.is_list:
                fields.take(spelled)
            continue
        if spelled != name and not key.kind.is_list:
            fields.fail(spelled, "only a list can be added to")
        if name in found:
            fields.fail(spelled, f"is here beside {name}: one of them says it all")
        found[spelled] = key.kind.check(fields, spelled)


def _check_named(fields: Fields, rows: list[tuple[Path, Key]], place: Path) -> dict[str, Json]:
    pattern, what = NAMES[place]
    found: dict[str, Json] = {}
    for name in fields.keys():  # noqa: SIM118 - Fields is no mapping
        if pattern.fullmatch(name) is None:
            fields.fail(name, f"is not {what}")
        nested = fields.nested(name)
        found[name] = {} if nested is None else _check(nested, rows, (*place, name))
    return found


def leaves(data: Mapping[str, Json], path: Path = ()) -> list[Path]:
    """The paths of all values in *data* that are no maps."""
    found: list[Path] = []
    for key, value in data.items():
        here = (*path, key)
        found += leaves(value, here) if isinstance(value, dict) else [here]
    return found


def merge(under: Mapping[str, Json], over: Mapping[str, Json]) -> dict[str, Json]:
    """*over* laid upon *under*: maps merge, `KEY+` adds what is not there yet, the rest replaces.

    Neither is changed. A `KEY+` over nothing stays one: *under* may be laid upon something itself.
    """
    result = dict(under)
    for key, value in over.items():
        name = key.removesuffix(APPEND)
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            result[key] = merge(below, value)
        elif key != name and isinstance(value, list):
            target = name if name in result else key
            present = result.get(target)
            items = list(present) if isinstance(present, list) else []
            result[target] = items + [item for item in value if item not in items]
        else:
            result.pop(key + APPEND, None)
            result[key] = value
    return result


def settle(data: Mapping[str, Json]) -> dict[str, Json]:
    """*data* with nothing below it: each `KEY+` is a KEY."""
    return {
        key.removesuffix(APPEND): settle(value) if isinstance(value, dict) else value
        for key, value in data.items()
    }


def path_of(key: str) -> Path:
    """The path of the dotted *key*, which may end in `+`.

    Raises:
        InvalidArgument: there is no such key; names the nearest one.
    """
    append = key.endswith(APPEND)
    path = split_key(key.removesuffix(APPEND))
    if path is None:
        # The check of a document of that one key knows best what is wrong with it.
        data: object = 0
        for word in reversed(key.split(".")):
            data = {word: data}
        rows = [(row.segments, row) for row in KEYS]
        _check(Fields(WHAT, data), rows, ())
        Fields(WHAT, {}).fail(key, "unknown key", _guess(key))
    return (*path[:-1], path[-1] + APPEND) if append else path


def _guess(key: str) -> str | None:
    guess = nearest(key, [row.path for row in KEYS])
    return f"did you mean {guess}?" if guess else None
