"""Options of bonds and bridges: their names, what they may be, and how the kernel has them.

Names are those of the kernel's documents (bonding.rst, sysfs of bridges), which RancherOS and
ifupdown use as well. Source: Linux 6.12 include/uapi/linux/if_link.h, bond_options.c.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.wire.netlink import link

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json

_OFF_ON = ("off", "on")
_MAX_U32 = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Option:
    """One option: *size* bytes in attribute *attribute*, from 0 to *high*.

    *words* are names of the values, in order. *scale*: how many of the kernel's units make one of
    ours. *fixed*: it can only be set while the bond has no members.
    """

    attribute: int
    size: int
    default: int = 0
    high: int = _MAX_U32
    words: tuple[str, ...] = ()
    scale: int = 1
    fixed: bool = False

    def parse(self, value: object) -> int:
        """*value* as a number: a number itself, in a string or not, a word, or a boolean.

        Raises:
            ValueError: says what it must be.
        """
        text = str(value).lower() if isinstance(value, bool | int | str) else ""
        if self.words == _OFF_ON:
            text = {"true": "on", "yes": "on", "false": "off", "no": "off"}.get(text, text)
        if text in self.words:
            return self.words.index(text)
        high = len(self.words) - 1 if self.words else self.high
        if text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= high:
            return int(text)
        raise ValueError(", ".join(self.words) or f"0 to {high}")

    def encode(self, number: int) -> bytes:
        return (number * self.scale).to_bytes(self.size, "little")


BOND_MODES = (
    *("balance-rr", "active-backup", "balance-xor", "broadcast"),
    *("802.3ad", "balance-tlb", "balance-alb"),
)
LACP = BOND_MODES.index("802.3ad")
ARP_IP_TARGET = 8
PRIMARY = 11
MAX_ARP_TARGETS = 16
MIIMON_MS = 100
"""How often members are looked at unless something else is said: the kernel's default is never."""

BOND: Mapping[str, Option] = {
    "mode": Option(1, 1, words=BOND_MODES, fixed=True),
    "miimon": Option(3, 4, default=MIIMON_MS),
    "updelay": Option(4, 4),
    "downdelay": Option(5, 4),
    "use_carrier": Option(6, 1, default=1, words=_OFF_ON),
    "arp_interval": Option(7, 4),
    "arp_validate": Option(
        9,
        4,
        words=(
            *("none", "active", "backup", "all"),
            *("filter", "filter_active", "filter_backup"),
        ),
    ),
    "arp_all_targets": Option(10, 4, words=("any", "all")),
    "primary_reselect": Option(12, 1, words=("always", "better", "failure")),
    "fail_over_mac": Option(13, 1, words=("none", "active", "follow"), fixed=True),
    "xmit_hash_policy": Option(
        14, 1, words=("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac")
    ),
    "resend_igmp": Option(15, 4, default=1, high=255),
    "num_grat_arp": Option(16, 1, default=1, high=255),
    "num_unsol_na": Option(16, 1, default=1, high=255),
    "all_slaves_active": Option(17, 1, words=_OFF_ON),
    "min_links": Option(18, 4),
    "lp_interval": Option(19, 4, default=1),
    "packets_per_slave": Option(20, 4, default=1, high=65535),
    "lacp_rate": Option(21, 1, words=("slow", "fast")),
    "ad_select": Option(22, 1, words=("stable", "bandwidth", "count")),
    "ad_actor_sys_prio": Option(24, 2, default=65535, high=65535),
    "ad_user_port_key": Option(25, 2, high=1023),
    "tlb_dynamic_lb": Option(27, 1, default=1, words=_OFF_ON),
}
"""`primary` and `arp_ip_target`, a name and addresses, are the two beside these."""

BOND_TEXTS = ("primary", "arp_ip_target")

BRIDGE: Mapping[str, Option] = {
    "forward_delay": Option(1, 4, default=15, high=30, scale=100),
    "hello_time": Option(2, 4, default=2, high=10, scale=100),
    "max_age": Option(3, 4, default=20, high=40, scale=100),
    "ageing_time": Option(4, 4, default=300, high=1000000, scale=100),
    "stp": Option(5, 4, words=_OFF_ON),
    "priority": Option(6, 2, default=32768, high=65535),
    "vlan_filtering": Option(7, 1, words=_OFF_ON),
    "mcast_snooping": Option(23, 1, default=1, words=_OFF_ON),
}
"""Times are in seconds, as in every tool for bridges."""


def parse_arp_targets(value: object) -> list[str]:
    """IPv4 addresses: a list, or one text with commas as the module's parameter has it.

    Raises:
        ValueError: says what it must be.
    """
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not 0 < len(items) <= MAX_ARP_TARGETS:
        raise ValueError(f"1 to {MAX_ARP_TARGETS} IPv4 addresses")
    try:
        return [str(ipaddress.IPv4Address(str(item).strip())) for item in items]
    except ValueError as error:
        raise ValueError("IPv4 addresses") from error


def encode(
    options: Mapping[str, Option], given: Mapping[str, Json]
) -> tuple[dict[int, bytes], dict[int, bytes], frozenset[int]]:
    """Attributes that are *given*; the same with defaults for all others; those that are fixed.

    Raises:
        ValueError: a value that is not one of its option's.
    """
    explicit = {
        option.attribute: option.encode(option.parse(given[name]))
        for name, option in options.items()
        if name in given
    }
    if options is BOND:
        watched = BOND["miimon"].attribute
        by_arp = bool(given.get("arp_interval"))
        explicit.setdefault(watched, BOND["miimon"].encode(0 if by_arp else MIIMON_MS))
        if "arp_ip_target" in given:
            targets = parse_arp_targets(given["arp_ip_target"])
            explicit[ARP_IP_TARGET] = link.bond_targets(targets)
    every = {option.attribute: option.encode(option.default) for option in options.values()}
    fixed = frozenset(option.attribute for option in options.values() if option.fixed)
    return explicit, every | explicit, fixed
