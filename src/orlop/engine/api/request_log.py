"""`LogConfig`: which driver takes a container's output, and its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine.logs.syslog import check_options
from orlop.lib.errors import InvalidArgument
from orlop.lib.units import parse_size_bytes
from orlop.wire.compose_model import LogLimits

if TYPE_CHECKING:
    from orlop.wire.docker.fields import Object

DRIVERS = ("json-file", "local", "none", "syslog")
"""The first two keep the same files: the engine's own format, read back by `docker logs`."""

_FILE_OPTION_NAMES = """
    max-size max-file compress labels labels-regex env env-regex tag mode max-buffer-size cache-
    disabled cache-max-size cache-max-file cache-compress
"""
_FILE_OPTIONS = frozenset(_FILE_OPTION_NAMES.split())


@dataclass(frozen=True, slots=True)
class LogRequest:
    """*driver* empty: the engine's own; *limits* None: the engine's default."""

    driver: str
    options: tuple[tuple[str, str], ...]
    limits: LogLimits | None


def parse_log(log: Object) -> LogRequest:
    """The driver and its options, checked.

    Raises:
        InvalidArgument: another driver or an option it does not have, in dockerd's words.
    """
    driver, options = log.text("Type"), log.text_map("Config")
    if driver and driver not in DRIVERS:
        raise InvalidArgument(
            f'error looking up logging plugin {driver[:40]}: plugin "{driver[:40]}" not found'
        )
    known = dict(options)
    if driver == "syslog":
        check_options(known)
        prefix = "cache-"
    elif driver == "none":
        return LogRequest(driver, options, None)
    else:
        prefix = ""
        for key in known:
            if key not in _FILE_OPTIONS:
                name = driver or "json-file"
                raise InvalidArgument(f"unknown log opt '{key[:40]}' for {name} log driver")
    if known.get("mode", "") not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {known['mode'][:40]}")
    if "max-buffer-size" in known and known.get("mode") != "non-blocking":
        raise InvalidArgument(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
        )
    return LogRequest(driver, options, _parse_limits(known, prefix))


def _parse_limits(options: dict[str, str], prefix: str) -> LogLimits | None:
    size, files = options.get(f"{prefix}max-size", ""), options.get(f"{prefix}max-file", "")
    if not size and not files:
        return None
    if files and (not files.isascii() or not files.isdigit() or int(files) < 1):
        raise InvalidArgument(f"max-file: {files[:40]!r} is not a number above zero")
    default = LogLimits()
    return LogLimits(
        parse_size_bytes(size) if size and size != "-1" else default.size_bytes,
        int(files) if files else default.files,
    )
