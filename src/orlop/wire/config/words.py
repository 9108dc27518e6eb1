"""A key and its value on one line: kernel parameters, and `orlop config set`. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_values import nearest
from orlop.wire.config.document import APPEND, path_of
from orlop.wire.config.evaluate import KERNEL
from orlop.wire.config.rancher import ROOT as RANCHER
from orlop.wire.config.table import KEYS, find
from orlop.wire.located_yaml import LocatedYaml, parse_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop.wire.config.table import Path

TOP_LEVEL = "cc."
"""What RancherOS put before the keys that are not below `rancher`."""


def kernel_document(name: str, value: str | None, others: Iterable[str] = ()) -> LocatedYaml:
    """The document that kernel parameter *name* with *value* stands for; without one it is true.

    Raises:
        InvalidArgument: no such key, or no value; *others* may have been meant, too.
    """
    key = name.removeprefix(TOP_LEVEL)
    if key.startswith(f"{RANCHER}."):
        path: Path = tuple(key.split("."))
    else:
        try:
            path = path_of(key)
        except InvalidArgument:
            guess = nearest(name, [*others, *(row.path for row in KEYS)])
            hint = f"did you mean {guess}?" if guess else None
            raise InvalidArgument(f"unknown {KERNEL} {name}", hint=hint) from None
    return document(
        KERNEL, path, True if value is None else value_of(f"{KERNEL} {name}", path, value)
    )


def value_of(name: str, path: Path, text: str) -> object:
    """*text* as the value at *path*: as it is where a text is wanted, else as YAML.

    Raises:
        InvalidArgument: it is not YAML; *name* is where it comes from.
    """
    key = find((*path[:-1], path[-1].removesuffix(APPEND)))
    if key is not None and key.kind.is_text and text[:1] not in ('"', "'"):
        return text
    return parse_yaml(name, text).data


def document(name: str, path: Path, value: object) -> LocatedYaml:
    """The document from *name* that sets *path* to *value* and nothing else."""
    for word in reversed(path):
        value = {word: value}
    return LocatedYaml(name, value, {})
