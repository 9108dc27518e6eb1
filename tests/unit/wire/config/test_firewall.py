"""`orlop.firewall`: what is accepted, its normal form, and where errors point to."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import Json
from orlop.wire.config.document import check_document
from orlop.wire.located_yaml import parse_yaml


def rules(*lines: str) -> Json:
    text = "orlop:\n firewall:\n  rules:\n" + "".join(f"  - {line}\n" for line in lines)
    orlop = check_document(parse_yaml("f.yml", text)).data["orlop"]
    assert isinstance(orlop, dict)
    firewall = orlop["firewall"]
    assert isinstance(firewall, dict)
    return firewall["rules"]


def test_normal_form() -> None:
    assert rules("{ports: 80}") == [{"action": "allow", "to": "machine", "ports": ["80/tcp"]}]
    assert rules(
        "{ports: [443, 80-90, 85-91, 92, 53/udp], from: [10.1.0.0/16, 10.0.0.0/8, '::1']}"
    ) == [
        {
            "action": "allow",
            "to": "machine",
            "ports": ["80-92/tcp", "443/tcp", "53/udp"],
            "from": ["10.0.0.0/8", "::1/128"],
        }
    ]
    assert rules("{ports: [53], protocol: udp, action: drop, to: containers}") == [
        {"action": "drop", "to": "containers", "ports": ["53/udp"]}
    ]
    assert rules("{protocol: icmp, interfaces: [eth0, 'wg*'], action: reject}") == [
        {"action": "reject", "to": "machine", "protocol": "icmp", "interfaces": ["eth0", "wg*"]}
    ]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{ports: [0]}", "ports[0]: must be a port such as 443/tcp, not '0'"),
        ("{ports: [90-80]}", "ports[0]: must be a port"),
        ("{ports: [1-65536]}", "ports[0]: must be a port"),
        ("{ports: [http]}", "ports[0]: must be a port"),
        ("{ports: [80/icmp]}", "ports[0]: icmp has no ports"),
        ("{ports: true}", "ports: must be a list of strings"),
        ("{ports: [80], protocol: gre}", "ports: gre has no ports"),
        ("{ports: []}", "ports: is empty"),
        ("{ports: [80], from: []}", "from: is empty"),
        ("{from: [10.0.0.0/33]}", "from[0]: must be a network"),
        ("{from: ['10.0.0.0/8; flush ruleset']}", "from[0]: must be a network"),
        ("{interfaces: ['eth0\"']}", "interfaces[0]: must be an interface"),
        ("{interfaces: ['e*h']}", "interfaces[0]: must be an interface"),
        ("{protocol: tpc}", "protocol: must be one of"),
        ("{action: accept, ports: 1}", "action: must be one of allow, drop, reject"),
        ("{port: 80}", "port: unknown key (did you mean ports?)"),
        ("80", "must be a map"),
    ],
)
def test_errors(rule: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        rules("{ports: 22}", rule)
    error = f"{caught.value}{f' ({caught.value.hint})' if caught.value.hint else ''}"
    assert error.startswith("f.yml:5: configuration: orlop.firewall.rules[1]"), error
    assert message in error
