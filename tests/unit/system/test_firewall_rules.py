"""The machine's firewall as text."""

from typing import Any

from orlop.system.config.configuration import Configuration
from orlop.system.network.firewall import tunnel_ports
from orlop.system.network.firewall_rules import REMOVAL, plan


def chain(text: str, name: str) -> list[str]:
    body = text.partition(f"  chain {name} {{\n")[2].partition("\n  }\n")[0]
    return [line.strip() for line in body.splitlines() if line.strip()]


def rule(**fields: Any) -> dict[str, Any]:
    return {"action": "allow", "to": "machine", **fields}


def test_without_configuration() -> None:
    text = plan({}, ["22/tcp"])
    assert text.startswith(REMOVAL)
    lines = chain(text, "input")
    services = lines.index("tcp dport { 22 } accept")
    assert lines[services + 1].startswith('socket cgroupv2 level 1 "user" ')
    assert lines[-3:] == [
        "meta pkttype { broadcast, multicast } drop",
        'limit rate 10/minute burst 20 packets log prefix "firewall: " level info',
        "drop",
    ]
    assert chain(text, "containers") == []


def test_off_and_policies() -> None:
    assert plan({"enabled": False}) == REMOVAL
    assert chain(plan({"policy": "reject", "log": False}), "input")[-2:] == [
        "meta pkttype { broadcast, multicast } drop",
        "goto refuse",
    ]
    assert chain(plan({"policy": "accept"}), "input")[-1].startswith("meta l4proto != {")


def test_rules_come_before_what_is_open() -> None:
    text = plan(
        {
            "rules": [
                rule(ports=["22/tcp"], **{"from": ["10.0.0.0/8", "2001:db8::/32"]}),
                rule(action="drop", ports=["22/tcp", "53/udp", "60-70/udp"]),
                rule(action="reject", protocol="vrrp", interfaces=["eth0", "wg*"]),
                rule(action="drop", to="containers", ports=["80/tcp"], interfaces=["eth0"]),
                rule(protocol="icmp"),
            ]
        },
        ["22/tcp"],
    )
    lines = chain(text, "input")
    first = lines.index("ip saddr { 10.0.0.0/8 } tcp dport { 22 } accept")
    assert lines[first + 1 : first + 6] == [
        "ip6 saddr { 2001:db8::/32 } tcp dport { 22 } accept",
        "tcp dport { 22 } drop",
        "udp dport { 53, 60-70 } drop",
        'iifname { "eth0", "wg*" } meta l4proto 112 goto refuse',
        "meta l4proto { 1, 58 } accept",
    ]
    assert first < lines.index("tcp dport { 22 } accept")
    assert chain(text, "containers") == [
        'iifname { "eth0" } meta l4proto 6 ct original proto-dst { 80 } drop'
    ]


def test_ports_of_tunnels() -> None:
    interfaces: dict[str, Any] = {"wg0": {"wireguard": {"listen_port": 51820}}, "eth0": {}}
    found = Configuration({"orlop": {"network": {"interfaces": interfaces}}})
    assert tunnel_ports(found) == ["51820/udp"]
    assert tunnel_ports(Configuration()) == []
