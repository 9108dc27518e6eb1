"""Tunnels of netplan in our words: WireGuard and VXLAN. Pure.

Source: netplan's reference, "Properties for device type tunnels".
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from orlop.wire.cloud.values import items, number, text, texts
from orlop.wire.config.kinds_network import is_wireguard_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json

KNOWN = frozenset({"mode", "key", "keys", "port", "mark", "peers", "id", "link", "local", "remote"})
_ENDPOINT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([1-9][0-9]{0,4})")


def translate(entry: Mapping[str, object]) -> dict[str, Json]:
    """The tunnel that *entry* describes, as keys of ours; empty where they cannot say it."""
    match text(entry, "mode"):
        case "vxlan":
            tunnel = _vxlan(entry)
        case "wireguard":
            tunnel = _wireguard(entry)
        case _:
            tunnel = {}
    return {text(entry, "mode"): tunnel} if tunnel else {}


def _vxlan(entry: Mapping[str, object]) -> dict[str, Json]:
    found = _numbers(entry, {"id": ("id", (1 << 24) - 1), "port": ("port", 65535)})
    try:
        for key in ("remote", "local"):
            if address := text(entry, key):
                found[key] = str(ipaddress.ip_address(address))
    except ValueError:
        return {}
    if link := text(entry, "link"):
        found["interface"] = link
    return found if {"id", "remote"} <= set(found) else {}


def _wireguard(entry: Mapping[str, object]) -> dict[str, Json]:
    """A key in a file cannot be said."""
    private = text(entry, "key") or text(entry, "keys", "private")
    peers = [_peer(item) for item in items(entry, "peers")]
    if not is_wireguard_key(private) or not all(peers):
        return {}
    found: dict[str, Json] = {"private_key": private, "peers": [*peers]}
    return found | _numbers(entry, {"port": ("listen_port", 65535), "mark": ("mark", 0x7FFFFFFF)})


def _peer(item: object) -> dict[str, Json]:
    """A peer in our words; empty if something of it is not what it should be."""
    found: dict[str, Json] = {}
    for ours, is_right, value in (
        ("public_key", is_wireguard_key, text(item, "keys", "public")),
        ("preshared_key", is_wireguard_key, text(item, "keys", "shared")),
        ("endpoint", _ENDPOINT.fullmatch, text(item, "endpoint")),
    ):
        if value and not is_right(value):
            return {}
        if value:
            found[ours] = value
    try:
        allowed = [str(ipaddress.ip_network(one, False)) for one in texts(item, "allowed-ips")]
    except ValueError:
        return {}
    if allowed:
        found["allowed_ips"] = [*allowed]
    found |= _numbers(item, {"keepalive": ("keepalive", 65535)})
    port = str(found.get("endpoint", "")).rpartition(":")[2]
    return found if "public_key" in found and int(port or 0) < 65536 else {}


def _numbers(data: object, keys: Mapping[str, tuple[str, int]]) -> dict[str, Json]:
    """What *keys* have by our names, from 1 to the highest of each."""
    values = {ours: (number(data, key), high) for key, (ours, high) in keys.items()}
    return {ours: v for ours, (v, high) in values.items() if v is not None and 0 < v <= high}
