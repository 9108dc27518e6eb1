"""Keys of the machine's firewall."""

from __future__ import annotations

from orlop.wire.config import kinds, kinds_firewall
from orlop.wire.config.row import Key

_RULE = "orlop.firewall.rules[]"

KEYS: tuple[Key, ...] = (
    Key(
        "orlop.firewall.enabled",
        kinds.BOOLEAN,
        "Whether what comes to the machine is filtered at all.",
        "false",
        default="true",
    ),
    Key(
        "orlop.firewall.policy",
        kinds_firewall.POLICY,
        "What becomes of that which no rule, service or container wants.",
        "reject",
        default="drop",
    ),
    Key(
        "orlop.firewall.log",
        kinds.BOOLEAN,
        "Whether that is written to the kernel's log, ten times a minute at most.",
        "false",
        default="true",
    ),
    Key(
        f"{_RULE}.action",
        kinds_firewall.ACTION,
        "What becomes of what the rule is about. The first rule that fits decides.",
        "drop",
        default="allow",
    ),
    Key(
        f"{_RULE}.ports",
        kinds_firewall.PORTS,
        "Ports that it is about.",
        "[80, 443/tcp, 8000-8100/udp]",
        default="all",
    ),
    Key(
        f"{_RULE}.protocol",
        kinds_firewall.PROTOCOL,
        "The protocol; for ports that name none: theirs. `icmp` is ICMPv6 too.",
        "udp",
        default="tcp for ports, else all",
    ),
    Key(
        f"{_RULE}.from",
        kinds_firewall.NETWORKS,
        "Networks and addresses that it comes from.",
        '[10.0.0.0/8, "2001:db8::/32"]',
        default="anywhere",
    ),
    Key(
        f"{_RULE}.interfaces",
        kinds_firewall.INTERFACES,
        "Interfaces that it comes in by.",
        '[eth1, "wg*"]',
        default="all",
    ),
    Key(
        f"{_RULE}.to",
        kinds_firewall.TO,
        "Whether it is about the machine (with containers in the host's network), or about ports "
        "that containers publish.",
        "containers",
        default="machine",
    ),
)
