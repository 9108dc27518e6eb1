"""Keys of the machine's network."""

from __future__ import annotations

from orlop.wire.config import kinds
from orlop.wire.config.row import Applies, Key

_INTERFACE = "orlop.network.interfaces.NAME"
_RANCHER_INTERFACE = "rancher.network.interfaces.NAME"

KEYS: tuple[Key, ...] = (
    Key(
        f"{_INTERFACE}.dhcp",
        kinds.BOOLEAN,
        "Whether the interface asks DHCP.",
        "false",
        default="true, false when it has addresses",
        applies=Applies.SERVICE,
        aliases=(f"{_RANCHER_INTERFACE}.dhcp",),
    ),
    Key(
        f"{_INTERFACE}.addresses",
        kinds.NETWORKS,
        "Static addresses, IPv4 and IPv6.",
        '[192.0.2.7/24, "2001:db8::7/64"]',
        default="none",
        applies=Applies.SERVICE,
        aliases=(f"{_RANCHER_INTERFACE}.address", f"{_RANCHER_INTERFACE}.addresses"),
    ),
    Key(
        f"{_INTERFACE}.gateway",
        kinds.IPV4_ADDRESS,
        "Default route, IPv4.",
        "192.0.2.1",
        default="by DHCP",
        applies=Applies.SERVICE,
        aliases=(f"{_RANCHER_INTERFACE}.gateway",),
    ),
    Key(
        f"{_INTERFACE}.gateway6",
        kinds.IPV6_ADDRESS,
        "Default route, IPv6.",
        '"fe80::1"',
        default="by router advertisements",
        applies=Applies.SERVICE,
        aliases=(f"{_RANCHER_INTERFACE}.gateway_ipv6",),
    ),
    Key(
        f"{_INTERFACE}.mtu",
        kinds.number(576, 65535),
        "Largest packet, in bytes.",
        "9000",
        default="by DHCP, else the driver's",
        applies=Applies.SERVICE,
        aliases=(f"{_RANCHER_INTERFACE}.mtu",),
    ),
    Key(
        "orlop.network.nameservers",
        kinds.ADDRESSES,
        "DNS servers; they replace those that DHCP names.",
        "[192.0.2.53]",
        default="by DHCP",
        applies=Applies.SERVICE,
        aliases=("rancher.network.dns.nameservers", "resolv_conf.nameservers"),
    ),
    Key(
        "orlop.network.search",
        kinds.DOMAINS,
        "Domains searched for short names.",
        "[example]",
        default="by DHCP",
        applies=Applies.SERVICE,
        aliases=("rancher.network.dns.search", "resolv_conf.searchdomains"),
    ),
)
