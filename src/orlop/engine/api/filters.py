"""The `filters` parameter of list and event requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

type Filters = dict[str, frozenset[str]]


def parse_filters(text: str, known: Collection[str] | None = None) -> Filters:
    """`{"status":["running"]}`, or the older `{"status":{"running":true}}`.

    Raises:
        InvalidArgument: not JSON of that form, or a filter that is not *known* (None: any is).
    """
    if not text:
        return {}
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument("invalid filter") from error
    if not isinstance(data, dict):
        raise InvalidArgument("invalid filter: an object expected")
    filters: Filters = {}
    for key, values in data.items():
        if known is not None and key not in known:
            raise InvalidArgument(f"invalid filter '{key[:40]}'")
        chosen = values
        if isinstance(values, dict):
            chosen = [value for value, wanted in values.items() if wanted]
        if not isinstance(chosen, list) or not all(isinstance(value, str) for value in chosen):
            raise InvalidArgument(f"invalid filter '{key[:40]}': a list of strings expected")
        if chosen:  # without a value it is no filter
            filters[key] = frozenset(chosen)
    return filters


def match_labels(wanted: Iterable[str], labels: Mapping[str, str]) -> bool:
    """Whether every `key` or `key=value` holds."""
    for item in wanted:
        key, equals, value = item.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def match_any(filters: Filters, key: str, values: Iterable[str]) -> bool:
    """Whether the filter *key* is absent or names one of *values*."""
    wanted = filters.get(key)
    return wanted is None or any(value in wanted for value in values)


def match_prefix(filters: Filters, key: str, value: str) -> bool:
    """Whether the filter *key* is absent or *value* begins with one of its values."""
    wanted = filters.get(key)
    return wanted is None or any(value.startswith(prefix) for prefix in wanted)
