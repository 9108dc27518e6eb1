"""Options of bonds and bridges under the names that data sources have for them, in ours. Pure.

Source: cloud-init's documents on networking; netplan's reference; Nova's network_data.json schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.wire.netlink import link_options

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop.wire.compose_model import Json

_BOND = {
    "mii-monitor-interval": "miimon",
    "up-delay": "updelay",
    "down-delay": "downdelay",
    "transmit-hash-policy": "xmit_hash_policy",
    "arp-ip-targets": "arp_ip_target",
    "fail-over-mac-policy": "fail_over_mac",
    "gratuitous-arp": "num_grat_arp",
    "gratuitious-arp": "num_grat_arp",
    "packets-per-member": "packets_per_slave",
    "packets-per-slave": "packets_per_slave",
    "primary-reselect-policy": "primary_reselect",
    "learn-packet-interval": "lp_interval",
    "all-members-active": "all_slaves_active",
    "all-slaves-active": "all_slaves_active",
}
_BRIDGE = {
    "fd": "forward_delay",
    "hello": "hello_time",
    "maxage": "max_age",
    "ageing": "ageing_time",
    "bridgeprio": "priority",
    "mcsnoop": "mcast_snooping",
}


def translate(
    kind: str, given: Mapping[str, object], warn: Callable[[str], None]
) -> dict[str, Json]:
    """The options *given* of a bond or bridge, checked; *warn* is told what is left out."""
    table = link_options.BOND if kind == "bond" else link_options.BRIDGE
    other = _BOND if kind == "bond" else _BRIDGE
    found: dict[str, Json] = {}
    for key, value in given.items():
        plain = key.replace("_", "-").removeprefix(f"{kind}-")
        name = other.get(plain, plain.replace("-", "_"))
        try:
            if kind == "bond" and name == "arp_ip_target":
                found[name] = [*link_options.parse_arp_targets(value)]
            elif kind == "bond" and name == "primary" and isinstance(value, str):
                found[name] = value
            elif name in table:
                found[name] = table[name].parse(value)
            else:
                warn(f"{key} is not supported")
        except ValueError as error:
            warn(f"{key} must be {error}")
    return found
