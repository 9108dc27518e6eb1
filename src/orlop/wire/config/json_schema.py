"""The table of keys as JSON Schema, for editors and other programs. Pure.

Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.wire.config.rancher import FOREIGN
from orlop.wire.config.table import EACH, KEYS, NAME, NAMES

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.config.table import Key, Path

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Json]:
    """The schema of a document. What others call things is allowed and not described."""
    schema = _branch([(key.segments, key) for key in KEYS], ())
    properties = schema["properties"]
    assert isinstance(properties, dict)
    for name in FOREIGN - properties.keys():
        properties[name] = {"deprecated": True}
    return {"$schema": DIALECT, "title": "Configuration of a machine that runs Orlop", **schema}


def _branch(rows: list[tuple[Path, Key]], place: Path) -> dict[str, Json]:
    properties: dict[str, Json] = {}
    for name in dict.fromkeys(path[0] for path, _ in rows):
        inner = [(path[1:], key) for path, key in rows if path[0] == name]
        if name == NAME:
            pattern = NAMES[place][0].pattern
            return {
                "type": ["object", "null"],
                "patternProperties": {f"^(?:{pattern})$": _branch(inner, (*place, name))},
                "additionalProperties": False,
            }
        if inner[0][0][:1] == (EACH,):
            items = _branch([(path[1:], key) for path, key in inner], (*place, name))
            properties[name] = {"type": ["array", "null"], "items": items}
            properties[f"{name}+"] = {"type": "array", "items": items}
        elif inner[0][0]:
            properties[name] = _branch(inner, (*place, name))
        else:
            _add_value(properties, name, inner[0][1])
    return {
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": False,
    }


def _add_value(properties: dict[str, Json], name: str, key: Key) -> None:
    value: dict[str, Json] = {"description": key.what}
    if key.default:
        value["description"] = f"{key.what} Default: {key.default}."
    if key.secret:
        value["writeOnly"] = True
    properties[name] = {**value, "anyOf": [dict(key.kind.schema), {"type": "null"}]}
    if key.kind.is_list:
        properties[f"{name}+"] = {
            "description": f"{key.what} Added to those of other sources.",
            **key.kind.schema,
        }
