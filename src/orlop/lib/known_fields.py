"""Files that a newer version may have written: what this one does not know is left out."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def make[T](kind: type[T], data: Mapping[str, Any]) -> T:
    """A *kind*, which is a dataclass, of those members of *data* that it has.

    Raises:
        TypeError, AttributeError: something is missing, or *data* is no mapping.
    """
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # a dataclass
    return kind(**{name: data[name] for name in names if name in data})
