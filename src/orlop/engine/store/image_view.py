"""From an image's record to the `Image` that the rest of the engine knows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orlop.engine.images import Image
from orlop.wire.compose_model import HealthCheck

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orlop.engine.store.records import ImageRecord

_SHELL = ("/bin/sh", "-c")
_PROTOCOLS = ("tcp", "udp", "sctp")
_NS = 1_000_000_000


def to_image(
    record: ImageRecord,
    *,
    lower: tuple[Path, ...],
    tags: tuple[str, ...],
    digests: tuple[str, ...],
    size_bytes: int,
    tagged_ns: int,
) -> Image:
    """What containers and the API see of *record*."""
    section = record.section()
    return Image(
        id=record.id,
        name=tags[0] if tags else record.id,
        lower=lower,
        entrypoint=_words(section.get("Entrypoint")),
        command=_words(section.get("Cmd")),
        environment=tuple(_pairs(_words(section.get("Env")))),
        user=section.get("User") or "",
        working_dir=section.get("WorkingDir") or "",
        stop_signal=section.get("StopSignal") or "",
        healthcheck=_health(section),
        labels=tuple((section.get("Labels") or {}).items()),
        created_ns=record.created_ns,
        volumes=tuple(section.get("Volumes") or ()),
        exposed_ports=tuple(_ports(section.get("ExposedPorts"))),
        tags=tags,
        digests=digests,
        layers=record.layers,
        size_bytes=size_bytes,
        parent=record.parent,
        tagged_ns=tagged_ns,
        document=record.config,
    )


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else ()


def _ports(value: object) -> Iterator[str]:
    """`PORT/PROTOCOL` each; some builders leave tcp out. What is no port could only fail a start,
    of another container than its own for one that is linked to it.
    """
    for text in value if isinstance(value, dict) else ():
        number, slash, protocol = text.lower().partition("/")
        if not slash:
            protocol = "tcp"
        is_number = number.isdecimal() and len(number) <= 5 and 0 < int(number) < 65536
        if is_number and protocol in _PROTOCOLS:
            yield f"{int(number)}/{protocol}"


def _pairs(items: tuple[str, ...]) -> list[tuple[str, str]]:
    pairs = [item.partition("=") for item in items]
    return [(key, value) for key, equals, value in pairs if key and equals]


def _health(section: dict[str, Any]) -> HealthCheck | None:
    check = section.get("Healthcheck")
    test = check.get("Test") if isinstance(check, dict) else None
    if not isinstance(check, dict) or not test:
        return None
    match test[0]:
        case "NONE":
            return HealthCheck(())
        case "CMD":
            command = tuple(test[1:])
        case "CMD-SHELL":
            # As dockerd: the image's own shell, where it has one.
            command = (*(_words(section.get("Shell")) or _SHELL), *test[1:])
        case _:
            return None

    def seconds(key: str, default_s: float) -> float:
        return (check.get(key) or 0) / _NS or default_s

    return HealthCheck(
        command,
        interval_s=seconds("Interval", 30.0),
        timeout_s=seconds("Timeout", 30.0),
        start_period_s=seconds("StartPeriod", 0.0),
        start_interval_s=seconds("StartInterval", 5.0),
        retries=check.get("Retries") or 3,
    )
