"""The variables that a link on the default bridge puts into a container. Pure.

`DB_PORT_5432_TCP_ADDR` and its like are older than names in networks, and old applications still
look for them. Source: Docker's documentation, "Legacy container links"; dockerd 28, daemon/links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LEFT_OUT = ("HOME", "PATH")


def link_variables(
    name: str, address: str, exposed: Iterable[str], environment: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Those of the link *name*, `/CONTAINER/ALIAS`, to who has *address* and *environment*.

    *exposed* are its ports, `PORT/PROTOCOL` each.
    """
    alias = name.rpartition("/")[2].upper().replace("-", "_")
    ports = sorted(map(_port, exposed), key=lambda port: (port[1] != "tcp", port[1], port[0]))
    if ports:
        number, protocol = ports[0]
        yield f"{alias}_PORT", f"{protocol}://{address}:{number}"
    for number, protocol in ports:
        prefix = f"{alias}_PORT_{number}_{protocol.upper()}"
        yield prefix, f"{protocol}://{address}:{number}"
        yield f"{prefix}_ADDR", address
        yield f"{prefix}_PORT", str(number)
        yield f"{prefix}_PROTO", protocol
    for first, last, protocol in _ranges(ports):
        prefix = f"{alias}_PORT_{first}_{protocol.upper()}"
        yield f"{prefix}_START", f"{protocol}://{address}:{first}"
        yield f"{prefix}_PORT_START", str(first)
        yield f"{prefix}_END", f"{protocol}://{address}:{last}"
        yield f"{prefix}_PORT_END", str(last)
    yield f"{alias}_NAME", name
    for key, value in environment.items():
        if key not in _LEFT_OUT:
            yield f"{alias}_ENV_{key}", value


def _port(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    return int(number), protocol


def _ranges(ports: list[tuple[int, str]]) -> Iterator[tuple[int, int, str]]:
    """Runs of two or more ports in succession."""
    start = 0
    for index, (number, protocol) in enumerate(ports):
        following = ports[index + 1] if index + 1 < len(ports) else None
        if following == (number + 1, protocol):
            continue
        if index > start:
            yield ports[start][0], number, protocol
        start = index + 1
