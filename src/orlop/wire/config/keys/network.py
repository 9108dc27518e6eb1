"""Keys of the machine's network."""

from __future__ import annotations

from orlop.wire.config import kinds, kinds_network
from orlop.wire.config.row import Applies, Key

_INTERFACE = "orlop.network.interfaces.NAME"
_RANCHER_INTERFACE = "rancher.network.interfaces.NAME"
_PEER = f"{_INTERFACE}.wireguard.peers[]"
_ROUTE = "orlop.network.routes[]"
_RULE = "orlop.network.rules[]"


def _key(
    path: str, kind: kinds.Kind, what: str, example: str, default: str = "none", *aliases: str
) -> Key:
    """A row that takes effect when the network's service starts anew."""
    return Key(path, kind, what, example, default, Applies.SERVICE, aliases=aliases)


def _interface(
    name: str, kind: kinds.Kind, what: str, example: str, default: str = "none", *aliases: str
) -> Key:
    """A row of one interface."""
    names = [f"{_RANCHER_INTERFACE}.{alias}" for alias in aliases]
    return _key(f"{_INTERFACE}.{name}", kind, what, example, default, *names)


KEYS: tuple[Key, ...] = (
    _interface(
        "match",
        kinds_network.MATCH,
        "Which hardware is meant: NAME is free then.",
        "mac=52:54:00:12:34:56",
        "the interface called NAME",
        "match",
    ),
    _interface(
        "dhcp",
        kinds.BOOLEAN,
        "Whether the interface asks DHCP.",
        "false",
        "true, false when it has addresses",
        "dhcp",
    ),
    _interface(
        "dhcp6",
        kinds.BOOLEAN,
        "Whether it asks DHCPv6, where a router says that there is one.",
        "false",
        "as dhcp",
    ),
    _interface(
        "ra",
        kinds.BOOLEAN,
        "Whether it heeds IPv6 router advertisements (SLAAC, default route, DNS).",
        "true",
        "as dhcp",
    ),
    _interface(
        "ipv4ll",
        kinds.BOOLEAN,
        "Whether it takes an address of 169.254.0.0/16 when no DHCP server answers.",
        "true",
        "false",
        "ipv4ll",
    ),
    _interface(
        "addresses",
        kinds.NETWORKS,
        "Static addresses, IPv4 and IPv6.",
        '[192.0.2.7/24, "2001:db8::7/64"]',
        "none",
        "address",
        "addresses",
    ),
    _interface(
        "gateway",
        kinds.IPV4_ADDRESS,
        "Default route, IPv4.",
        "192.0.2.1",
        "by DHCP",
        "gateway",
    ),
    _interface(
        "gateway6",
        kinds.IPV6_ADDRESS,
        "Default route, IPv6.",
        '"fe80::1"',
        "by router advertisements",
        "gateway_ipv6",
    ),
    _interface(
        "metric",
        kinds.number(1, 1 << 30),
        "Of its default routes: the lowest wins.",
        "200",
        "0 for gateways, 1000 and more for DHCP",
    ),
    _interface(
        "mtu",
        kinds.number(576, 65535),
        "Largest packet, in bytes.",
        "9000",
        "by DHCP, else the driver's",
        "mtu",
    ),
    _interface("mac", kinds_network.MAC, "Hardware address it shows.", "02:00:00:00:00:07"),
    _interface(
        "optional",
        kinds.BOOLEAN,
        "Whether the machine counts as online without it.",
        "true",
        "false",
    ),
    _interface(
        "bond", kinds_network.INTERFACE, "The bond it is a member of.", "bond0", "none", "bond"
    ),
    _interface(
        "bond_options",
        kinds_network.BOND_OPTIONS,
        "Options of a bond, by the kernel's names; NAME is a bond then.",
        "{mode: 802.3ad}",
        "balance-rr, miimon 100",
        "bond_opts",
    ),
    _interface(
        "bridge",
        kinds_network.BRIDGE,
        "The bridge it is a member of; true: NAME is a bridge.",
        "br0",
        "none",
        "bridge",
    ),
    _interface(
        "bridge_options",
        kinds_network.BRIDGE_OPTIONS,
        "Options of a bridge; times in seconds.",
        "{stp: true}",
        "the kernel's",
    ),
    _interface(
        "bridge_vlans",
        kinds_network.BRIDGE_VLANS,
        "VLANs that it has as a port of a bridge, which then filters; or as the bridge itself.",
        '["10:pvid:untagged", 20, 30-40]',
        "1:pvid:untagged, where the bridge filters",
    ),
    _interface(
        "vlans",
        kinds_network.VLANS,
        "VLANs on it: interfaces NAME.ID, or as named here; tags are of 802.1Q if nothing is said.",
        '[100, "200:storage"]',
        "none",
        "vlans",
    ),
    _interface(
        "macvlans",
        kinds_network.MACVLANS,
        "Further interfaces on it, each with a hardware address of its own.",
        '["shim0", "guest0:private"]',
    ),
    Key(
        f"{_INTERFACE}.wireguard.private_key",
        kinds_network.WIREGUARD_KEY,
        "Key of this end of a WireGuard tunnel; NAME is one then.",
        "4Gf3r0Lq0Cc6mVfN3q1XQb0Ht1nJ6b3n1r0m8Lh6bEw=",
        "none",
        Applies.SERVICE,
        secret=True,
    ),
    _interface(
        "wireguard.listen_port",
        kinds.number(1, 65535),
        "Its UDP port.",
        "51820",
        "a free one",
    ),
    _interface(
        "wireguard.mark", kinds.number(1, 0x7FFFFFFF), "Mark of the packets it sends.", "51"
    ),
    _interface(
        "vxlan.id",
        kinds.number(1, (1 << 24) - 1),
        "Number of a VXLAN; NAME is one then.",
        "42",
    ),
    _interface(
        "vxlan.remote",
        kinds_network.ANY_ADDRESS,
        "Its other end, or a multicast group.",
        "192.0.2.9",
    ),
    _interface(
        "vxlan.local",
        kinds_network.ANY_ADDRESS,
        "Address its packets get.",
        "192.0.2.7",
        "by route",
    ),
    _interface(
        "vxlan.interface",
        kinds_network.LABEL,
        "The interface its packets go out of.",
        "eth0",
        "by route",
    ),
    _interface("vxlan.port", kinds.number(1, 65535), "UDP port.", "8472", "4789"),
    _interface(
        "vxlan.ttl",
        kinds.number(1, 255),
        "Routers that its packets may pass.",
        "16",
        "the kernel's, 1 in a group",
    ),
    _key(
        f"{_PEER}.public_key",
        kinds_network.WIREGUARD_KEY,
        "Who the other end is.",
        "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
    ),
    Key(
        f"{_PEER}.preshared_key",
        kinds_network.WIREGUARD_KEY,
        "A further key that both ends have.",
        "4Gf3r0Lq0Cc6mVfN3q1XQb0Ht1nJ6b3n1r0m8Lh6bEw=",
        "none",
        Applies.SERVICE,
        secret=True,
    ),
    _key(
        f"{_PEER}.endpoint",
        kinds_network.ENDPOINT,
        "Where it is reached.",
        "vpn.example:51820",
        "where it was last heard from",
    ),
    _key(
        f"{_PEER}.allowed_ips",
        kinds_network.ALLOWED,
        "What may come from it and is sent to it.",
        '[10.9.0.0/24, "fd00:9::/64"]',
    ),
    _key(
        f"{_PEER}.keepalive",
        kinds.number(1, 65535),
        "Seconds between packets that keep a way through NAT open.",
        "25",
    ),
    _key(f"{_ROUTE}.to", kinds_network.DESTINATION, "Where the route leads.", "10.0.0.0/8"),
    _key(f"{_ROUTE}.via", kinds_network.ANY_ADDRESS, "The router.", "192.0.2.254"),
    _key(
        f"{_ROUTE}.interface",
        kinds_network.LABEL,
        "The interface, for a network without a router, or a router of that link.",
        "eth1",
        "where the router is",
    ),
    _key(f"{_ROUTE}.source", kinds_network.ANY_ADDRESS, "Address its packets get.", "192.0.2.7"),
    _key(
        f"{_ROUTE}.metric",
        kinds.number(1, 0x7FFFFFFF),
        "The lowest wins.",
        "50",
        "0, 1024 for IPv6",
    ),
    _key(f"{_ROUTE}.table", kinds_network.TABLE, "Table it is in.", "100", "main"),
    _key(f"{_ROUTE}.mtu", kinds.number(576, 65535), "Largest packet on it.", "1400"),
    _key(
        f"{_ROUTE}.on_link",
        kinds.BOOLEAN,
        "Whether the router is on the link whatever its address.",
        "true",
        "false",
    ),
    _key(
        f"{_ROUTE}.type",
        kinds.choice("unicast", "blackhole", "unreachable", "prohibit"),
        "What becomes of the packets.",
        "blackhole",
        "unicast",
    ),
    _key(f"{_RULE}.from", kinds_network.DESTINATION, "Packets from this network.", "192.0.2.0/24"),
    _key(f"{_RULE}.to", kinds_network.DESTINATION, "Packets to this network.", "10.0.0.0/8"),
    _key(
        f"{_RULE}.iif",
        kinds_network.LABEL,
        "Packets that came in here; lo: this machine's.",
        "eth1",
    ),
    _key(f"{_RULE}.oif", kinds_network.LABEL, "Packets of sockets bound to this.", "eth1"),
    _key(f"{_RULE}.mark", kinds_network.MARK, "Packets with this mark.", '"0x10/0xff"'),
    _key(f"{_RULE}.table", kinds_network.TABLE, "The table that says where they go.", "100"),
    _key(
        f"{_RULE}.priority",
        kinds.number(1, 32765),
        "The lowest is asked first.",
        "100",
        "1000, 1001, ... in their order",
    ),
    _key(
        f"{_RULE}.type",
        kinds.choice("lookup", "blackhole", "unreachable", "prohibit"),
        "What becomes of the packets.",
        "lookup",
        "lookup",
    ),
    _key(
        "orlop.network.nameservers",
        kinds.ADDRESSES,
        "DNS servers; they replace those that DHCP names.",
        "[192.0.2.53]",
        "by DHCP",
        "rancher.network.dns.nameservers",
        "resolv_conf.nameservers",
    ),
    _key(
        "orlop.network.search",
        kinds.DOMAINS,
        "Domains searched for short names.",
        "[example]",
        "by DHCP",
        "rancher.network.dns.search",
        "resolv_conf.searchdomains",
    ),
    Key(
        "orlop.network.wait_online",
        kinds.number(0, 3600),
        "Seconds that a service waits at most for the network, if it asks for it.",
        "60",
        "20",
        aliases=("rancher.network.dhcp_timeout",),
    ),
)
