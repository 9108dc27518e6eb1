"""What `docker logs --details` puts before a line: labels, variables, tag that options name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from orlop.engine.logs.syslog import make_tag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orlop.engine.container.record import Record


def attributes(record: Record) -> dict[str, str]:
    """By name; empty without such options."""
    config = record.config
    options = dict(config.log_options)
    found = _chosen(options, "labels", config.labels) | _chosen(options, "env", config.environment)
    if options.get("tag"):
        found["tag"] = make_tag(options["tag"], record)
    return found


def _chosen(
    options: Mapping[str, str], key: str, pairs: Iterable[tuple[str, str]]
) -> dict[str, str]:
    names = {name for name in options.get(key, "").split(",") if name}
    text = options.get(f"{key}-regex", "")
    try:
        pattern = re.compile(text) if text else None
    except re.error:
        pattern = None
    return {
        name: value
        for name, value in pairs
        if name in names or (pattern is not None and pattern.search(name))
    }


def details(record: Record) -> bytes:
    """The words before a line, with the space after them."""
    pairs = sorted(attributes(record).items())
    return ",".join(f"{quote_plus(k)}={quote_plus(v)}" for k, v in pairs).encode() + b" "
