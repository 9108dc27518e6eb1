"""Documents of the machine configuration: every key, every kind of mistake, and how they merge."""

from typing import Any

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.config.document import check_document, leaves, merge, path_of, settle
from orlop.wire.located_yaml import parse_yaml

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysrw6Kb0eIn0V0Q3e0XQ5l6yq9u3r0Yb5Zt me"

FULL = f"""\
hostname: ship-1.example
ssh_authorized_keys:
  - {KEY}
  - restrict {KEY}
orlop:
  network:
    interfaces:
      eth0:
        dhcp: false
        addresses: [192.0.2.7/24, "2001:db8::7/64"]
        gateway: 192.0.2.1
        gateway6: fe80::1
        mtu: 9000
      eth1:
    nameservers: [192.0.2.53]
    search: [example, b.example]
  time:
    servers: [ntp.example, "192.0.2.1:1123", "[2001:db8::1]:123 key 7", "2001:db8::2"]
    keys: ["7 SHA256 HEX:00ff"]
    pools: [pool.example]
  syslog:
    remote: udp://[2001:db8::1]:514
  services:
    ssh:
      enabled: false
"""


def check(text: str) -> dict[str, Any]:
    return check_document(parse_yaml("c.yml", text)).data


def test_every_key() -> None:
    assert check(FULL) == {
        "hostname": "ship-1.example",
        "ssh_authorized_keys": [KEY, f"restrict {KEY}"],
        "orlop": {
            "network": {
                "interfaces": {
                    "eth0": {
                        "dhcp": False,
                        "addresses": ["192.0.2.7/24", "2001:db8::7/64"],
                        "gateway": "192.0.2.1",
                        "gateway6": "fe80::1",
                        "mtu": 9000,
                    },
                    "eth1": {},
                },
                "nameservers": ["192.0.2.53"],
                "search": ["example", "b.example"],
            },
            "time": {
                "servers": [
                    "ntp.example",
                    "192.0.2.1:1123",
                    "[2001:db8::1]:123 key 7",
                    "2001:db8::2",
                ],
                "keys": ["7 SHA256 HEX:00ff"],
                "pools": ["pool.example"],
            },
            "syslog": {"remote": "udp://[2001:db8::1]:514"},
            "services": {"ssh": {"enabled": False}},
        },
    }


@pytest.mark.parametrize("text", ["", "#cloud-config\n", "hostname:\n", "orlop:\n  time:\n"])
def test_little_is_fine(text: str) -> None:
    assert leaves(check(text)) == []


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("a: 1\n", "c.yml:1: configuration: a: unknown key", None),
        ("\nhostnam: x\n", "c.yml:2: configuration: hostnam: unknown key", "hostname"),
        ("hostname: a_b\n", "c.yml:1: configuration: hostname: must be a host name", None),
        ("hostname: [a]\n", "c.yml:1: configuration: hostname: must be a string", None),
        ("- a\n", "c.yml:1: configuration: must be a map, not a list", None),
        ("ssh_authorized_keys: [hello]\n", "ssh_authorized_keys[0]: is no public key", None),
        ("ssh_authorized_keys:\n  - ssh-rsa AAA=A\n", "c.yml:2: ", None),
        (
            "orlop:\n  time:\n    server: [a]\n",
            "c.yml:3: configuration: orlop.time.server",
            "servers",
        ),
        ("orlop:\n  time: [a]\n", "c.yml:2: configuration: orlop.time: must be a map", None),
        (
            "orlop:\n  network:\n    interfaces:\n      eth0:\n        adresses: []\n",
            "c.yml:5: configuration: orlop.network.interfaces.eth0.adresses",
            "addresses",
        ),
        (
            "orlop:\n  network:\n    interfaces:\n      'a b': {}\n",
            "is not an interface name",
            None,
        ),
        (
            "orlop: {network: {interfaces: {e: {addresses: [300.1.1.1]}}}}",
            "must be an address",
            None,
        ),
        (
            "orlop: {network: {interfaces: {e: {gateway: 'fe80::1'}}}}",
            "must be an IPv4 address",
            None,
        ),
        ("orlop: {network: {interfaces: {e: {mtu: 100}}}}", "must be from 576 to 65535", None),
        (
            "orlop: {network: {nameservers: [dns.example]}}",
            "nameservers[0]: must be an address",
            None,
        ),
        ("orlop: {time: {servers: ['a b']}}", "servers[0]: must be a host", None),
        ("orlop: {time: {servers: ['a:99999']}}", "servers[0]: must be a host", None),
        ("orlop: {time: {keys: ['1 SHA256 secret']}}", "keys[0]: must be ID TYPE SECRET", None),
        ("orlop: {syslog: {remote: 'http://x'}}", "must be udp://", None),
        ("orlop: {syslog: {remote: 'udp://x:0'}}", "must be udp://", None),
        ("orlop: {services: {ssh: {enabled: 'yes'}}}", "must be true or false", None),
        ("orlop: {services: {ssh: {enable: true}}}", "unknown key", "enabled"),
    ],
)
def test_refused_with_file_line_and_key(text: str, problem: str, hint: str | None) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(text)
    assert problem in caught.value.message
    assert caught.value.message.startswith("c.yml:")
    if hint is not None:
        assert hint in (caught.value.hint or "")


def test_merging() -> None:
    under: dict[str, Any] = {"a": {"b": 1, "c": [1]}, "d": 1}
    over: dict[str, Any] = {"a": {"c": [2]}, "e": {"f": 1}}
    assert merge(under, over) == {"a": {"b": 1, "c": [2]}, "d": 1, "e": {"f": 1}}
    assert under == {"a": {"b": 1, "c": [1]}, "d": 1}


def test_lists_are_added_to_on_request() -> None:
    under, over = check("orlop: {time: {pools: [a, b]}}"), check("orlop: {time: {pools+: [b, c]}}")
    assert merge(under, over) == {"orlop": {"time": {"pools": ["a", "b", "c"]}}}
    assert settle(merge({}, over)) == {"orlop": {"time": {"pools": ["b", "c"]}}}
    twice = merge(over, check("orlop: {time: {pools+: [d]}}"))
    assert settle(merge(under, twice)) == {"orlop": {"time": {"pools": ["a", "b", "c", "d"]}}}
    assert merge(over, under) == under
    for text, problem in (
        ("hostname+: x", r"c.yml:1: configuration: hostname\+: only a list can be added to"),
        ("orlop: {time: {pools: [a], pools+: [b]}}", "is here beside pools"),
        ("orlop: {tim+: {}}", "unknown key"),
    ):
        with pytest.raises(InvalidArgument, match=problem):
            check(text)


def test_keys_in_one_word() -> None:
    assert path_of("hostname") == ("hostname",)
    assert path_of("orlop.time") == ("orlop", "time")
    interfaces = ("orlop", "network", "interfaces")
    assert path_of("orlop.network.interfaces.eth0") == (*interfaces, "eth0")
    assert path_of("orlop.network.interfaces.eth0.100.mtu") == (*interfaces, "eth0.100", "mtu")
    assert path_of("ssh_authorized_keys+") == ("ssh_authorized_keys+",)
    for wrong, hint in (("hostnam", "hostname"), ("orlop.time.server", "servers"), ("x.y", "")):
        with pytest.raises(InvalidArgument) as caught:
            path_of(wrong)
        assert hint in (caught.value.hint or "")
