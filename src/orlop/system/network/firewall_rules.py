"""The machine's firewall as text for `nft -f`: one transaction that replaces the table. Pure.

What is let in, in this order: what belongs to connections there are, and what IP cannot do without;
what the configured rules decide; what is relayed to containers; ports of the system's services;
whatever containers of the user listen on in the machine's network; echo requests, and protocols
without ports, which reach only who has asked the kernel for them.

Whom a socket belongs to is asked of the kernel, by cgroup: no list of ports has to be kept. A
closed connection has no owner any more, and a client may use its port again while the server still
waits; so the ports of containers are remembered for as long as that may last. The kernel sets
memory aside for as many as the set may hold; when it is full the rest is not remembered.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from orlop.engine.settings import MARK_API, MARK_PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orlop.wire.compose_model import Json

TABLE = "orlop_host"
LOG_PREFIX = "firewall: "

REMOVAL = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
"""Makes sure that the table is not there."""

_FRAME = """
table inet {table} {{
  comment "the machine's firewall; written by PID 1 from the configuration"
  set recent {{ type inet_proto . inet_service; flags dynamic,timeout; timeout 2m; size 4096; }}
  chain input {{
    type filter hook input priority filter; policy accept
    iifname "lo" accept
    ct state vmap {{ established : accept, related : accept, invalid : drop }}
    icmp type {{ destination-unreachable, time-exceeded, parameter-problem }} accept
    icmpv6 type {{
      destination-unreachable, packet-too-big, time-exceeded, parameter-problem,
      nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert,
      mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report
    }} accept
    udp sport 67 udp dport 68 accept
    ip6 saddr fe80::/10 udp dport 546 accept
{machine}
    socket mark {mark_published} jump containers
    socket mark {{ {mark_published}, {mark_api} }} accept
{services}
    socket cgroupv2 level 1 "{cgroup}" goto listening
    meta l4proto . th dport @recent accept
    icmp type echo-request accept
    icmpv6 type echo-request accept
    meta l4proto != {{ {known} }} accept
{policy}
  }}
  chain forward {{
    type filter hook forward priority filter - 5; policy accept
    ct state established,related accept
    ct status dnat jump containers
  }}
  chain containers {{
{containers}
  }}
  chain listening {{
    update @recent {{ meta l4proto . th dport }}
    accept
  }}
  chain refuse {{
    meta l4proto 6 reject with tcp reset
    reject with icmpx admin-prohibited
  }}
}}
"""
_VERDICTS = {"allow": "accept", "drop": "drop", "reject": "goto refuse"}

# Numbers, because the image has no /etc/protocols. Source: IANA, Protocol Numbers.
_WITH_PORTS = {"tcp": "6", "udp": "17", "dccp": "33", "sctp": "132", "udplite": "136"}
_PROTOCOLS = {
    **_WITH_PORTS,
    "icmp": "{ 1, 58 }",
    "igmp": "2",
    "ipip": "4",
    "gre": "47",
    "esp": "50",
    "ah": "51",
    "ospf": "89",
    "vrrp": "112",
}


def plan(settings: Mapping[str, Json], ports: Iterable[str] = (), cgroup: str = "user") -> str:
    """The text for *settings*, which is `orlop.firewall` of the configuration in normal form.

    *ports* are those of the system's services, such as `22/tcp`; *cgroup* is the name of that of
    the user's containers, which must be there.
    """
    if settings.get("enabled") is False:
        return REMOVAL
    given = settings.get("rules")
    rules = [rule for rule in given if isinstance(rule, dict)] if isinstance(given, list) else []
    of = {to: [rule for rule in rules if rule.get("to") == to] for to in ("machine", "containers")}
    listening = [f"{match} accept" for match in _port_matches([*ports], "{name} dport")]
    return REMOVAL + _FRAME.format(
        table=TABLE,
        mark_published=hex(MARK_PUBLISHED),
        mark_api=hex(MARK_API),
        cgroup=cgroup,
        known=", ".join((*_WITH_PORTS.values(), "1", "58")),
        machine=_lines(line for rule in of["machine"] for line in _rule(rule, "{name} dport")),
        containers=_lines(
            line
            for rule in of["containers"]
            for line in _rule(rule, "meta l4proto {number} ct original proto-dst")
        ),
        services=_lines(listening),
        policy=_lines(_policy(settings)),
    )


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _policy(settings: Mapping[str, Json]) -> list[str]:
    """What is for all in the network is no attempt to get in, and not worth a line in the log."""
    policy = settings.get("policy")
    if policy == "accept":
        return []
    lines = ["meta pkttype { broadcast, multicast } drop"]
    if settings.get("log") is not False:
        limit = "limit rate 10/minute burst 20 packets"
        lines.append(f'{limit} log prefix "{LOG_PREFIX}" level info')
    return [*lines, "goto refuse" if policy == "reject" else "drop"]


def _rule(rule: Mapping[str, Json], port_match: str) -> list[str]:
    names = _texts(rule, "interfaces")
    interfaces = [f"iifname {_set(f'"{name}"' for name in names)}"] if names else [""]
    networks = _texts(rule, "from")
    sources = [
        f"{family} saddr {_set(members)}"
        for family, members in (
            ("ip", [network for network in networks if ":" not in network]),
            ("ip6", [network for network in networks if ":" in network]),
        )
        if members
    ] or [""]
    protocol = str(rule.get("protocol") or "")
    protocols = [f"meta l4proto {_PROTOCOLS[protocol]}"] if protocol else [""]
    if ports := _texts(rule, "ports"):
        protocols = _port_matches(ports, port_match)
    verdict = _VERDICTS[str(rule["action"])]
    return [
        " ".join(filter(None, (*parts, verdict)))
        for parts in product(interfaces, sources, protocols)
    ]


def _port_matches(ports: Sequence[str], port_match: str) -> list[str]:
    by_protocol: dict[str, list[str]] = {}
    for port in ports:
        numbers, _, protocol = port.partition("/")
        by_protocol.setdefault(protocol, []).append(numbers)
    return [
        f"{port_match.format(name=protocol, number=_PROTOCOLS[protocol])} {_set(numbers)}"
        for protocol, numbers in by_protocol.items()
    ]


def _set(members: Iterable[str]) -> str:
    return f"{{ {', '.join(dict.fromkeys(members))} }}"


def _texts(rule: Mapping[str, Json], key: str) -> list[str]:
    value = rule.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []
