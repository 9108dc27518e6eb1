"""What the values of the engine's defaults may be: those of dockerd's daemon.json. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from orlop.wire.compose_values import nearest
from orlop.wire.config.kinds import Kind, choice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

LOG_OPTIONS = (
    *("max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"),
    *("mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file"),
    *("cache-compress", "syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert"),
    *("syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify"),
)
ULIMITS = (
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile"),
    *("nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
)
_LABEL = r"[!-<>-~]+=[ -~]*"
_REMAP = r"[1-9]\d{0,9}:[1-9]\d{0,9}"
_RESOLVER_OPTION = r"[a-z0-9:-]{1,64}"
MAX_POOLS = 64

_MAP: Mapping[str, Json] = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean", "object"]},
}
_STRINGS: Mapping[str, Json] = {"type": ["array", "string"], "items": {"type": "string"}}


def _log_options(fields: Fields, key: str) -> Json:
    inner = fields.inner(key, fields.take(key))
    found: dict[str, Json] = {}
    for name in inner.keys():  # noqa: SIM118 - Fields is no mapping
        if name not in LOG_OPTIONS:
            guess = nearest(name, LOG_OPTIONS)
            inner.fail(
                name, "unknown option of a log driver", f"did you mean {guess}?" if guess else None
            )
        value = inner.take(name)
        found[name] = (
            str(value).lower() if isinstance(value, bool) else inner.check_string(name, value)
        )
    return found


def _ulimits(fields: Fields, key: str) -> Json:
    """Each is `SOFT:HARD` then; a number is both, -1 is no limit."""
    inner = fields.inner(key, fields.take(key))
    found: dict[str, Json] = {}
    for name in inner.keys():  # noqa: SIM118
        if name not in ULIMITS:
            guess = nearest(name, ULIMITS)
            inner.fail(name, "unknown limit", f"did you mean {guess}?" if guess else None)
        value = inner.take(name)
        if isinstance(value, dict):
            both = {str(part).lower(): number for part, number in value.items()}
            text = f"{both.get('soft', both.get('hard'))}:{both.get('hard', both.get('soft'))}"
        else:
            text = inner.check_string(name, value)
        match = re.fullmatch(r"(-1|\d{1,18})(?::(-1|\d{1,18}))?", text)
        if match is None:
            inner.fail(name, "must be a number, SOFT:HARD, or a map with soft and hard")
        soft, hard = int(match[1]), int(match[2] or match[1])
        if hard != -1 and (soft == -1 or soft > hard):
            inner.fail(name, f"the soft limit is above the hard one: {soft} > {hard}")
        found[name] = f"{soft}:{hard}"
    return found


def _pools(fields: Fields, key: str) -> Json:
    value = fields.take(key)
    if not isinstance(value, list) or len(value) > MAX_POOLS:
        fields.fail(key, f"must be a list of up to {MAX_POOLS} maps with base and size")
    found: list[Json] = []
    for index, item in enumerate(value):
        inner = fields.inner(f"{key}[{index}]", item)
        base, size = inner.string("base"), inner.integer("size", 1, 30)
        inner.finish()
        try:
            network = ipaddress.IPv4Network(base)
        except ValueError:
            inner.fail("base", f"must be an IPv4 network such as 10.200.0.0/16, not {base!r}")
        if size is None or size < network.prefixlen:
            inner.fail("size", f"must be the prefix length of a part: {network.prefixlen} to 30")
        found.append({"base": str(network), "size": size})
    return found


def _bridge(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    try:
        address = ipaddress.IPv4Interface(text)
    except ValueError:
        address = None
    if address is None or "/" not in text or address.network.prefixlen > 29:
        fields.fail(key, f"must be an address with its network, 172.30.0.1/16, not {text!r}")
    return str(address)


def _matching(pattern: str, what: str, *, many: bool) -> Kind:
    def check(fields: Fields, key: str) -> Json:
        texts = fields.strings(key) if many else (fields.string(key),)
        for index, text in enumerate(texts):
            if re.fullmatch(pattern, text) is None:
                fields.fail(
                    f"{key}[{index}]" if many else key, f"must be {what}, not {text[:80]!r}"
                )
        return [*texts] if many else texts[0]

    if many:
        return Kind(f"list of {what}", _STRINGS, check)
    return Kind(what, {"type": "string"}, check)


LOG_DRIVER = choice("json-file", "local", "syslog", "none")
LOG_OPTION_MAP = Kind("map of OPTION: VALUE", _MAP, _log_options)
ULIMIT_MAP = Kind("map of LIMIT: SOFT[:HARD]", _MAP, _ulimits)
POOLS = Kind(
    "list of {base, size}",
    {"type": "array", "items": {"type": "object"}},
    _pools,
)
BRIDGE = Kind("IPv4 ADDRESS/LENGTH", {"type": "string"}, _bridge)
LABELS = _matching(_LABEL, "KEY=VALUE", many=True)
RESOLVER_OPTIONS = _matching(_RESOLVER_OPTION, "options of resolv.conf", many=True)
REMAP = _matching(_REMAP, "FIRST:COUNT", many=False)
