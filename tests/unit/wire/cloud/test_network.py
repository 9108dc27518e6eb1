"""Networks as others describe them: what is taken over, and what is named in a warning."""

import json
from typing import Any

import pytest
import yaml

from orlop.wire.cloud.netplan import parse_network_config
from orlop.wire.cloud.network_data import parse_network_data
from orlop.wire.cloud.nics import Nic, Nics, cidr, is_default, to_network

NAMES = {"52:54:00:12:34:00": "eth0", "52:54:00:12:34:01": "eth1"}


def netplan(text: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    return to_network(parse_network_config(yaml.safe_load(text)), NAMES)


def test_version_1() -> None:
    network, warnings = netplan("""
version: 1
config:
  - type: physical
    name: interface0
    mac_address: "52:54:00:12:34:00"
    mtu: 1400
    subnets:
      - {type: static, address: 192.0.2.10, netmask: 255.255.255.0, gateway: 192.0.2.254,
         dns_nameservers: [192.0.2.53], dns_search: [a.example]}
      - {type: static6, address: "2001:db8::10/64", gateway: "2001:db8::1"}
  - type: physical
    name: eth1
    subnets: [{type: dhcp4}]
  - {type: nameserver, address: [192.0.2.54, 192.0.2.53], search: b.example}
  - {type: loopback, name: lo}
""")
    assert network == {
        "interfaces": {
            "eth0": {
                "addresses": ["192.0.2.10/24", "2001:db8::10/64"],
                "dhcp": False,
                "gateway": "192.0.2.254",
                "gateway6": "2001:db8::1",
                "mtu": 1400,
            }
        },
        "nameservers": ["192.0.2.53", "192.0.2.54"],
        "search": ["a.example", "b.example"],
    }
    assert warnings == ()


def test_version_1_names_what_it_leaves_out() -> None:
    network, warnings = netplan("""
version: 1
config:
  - {type: bond, name: bond0, bond_interfaces: [eth0]}
  - {type: route, destination: 198.51.100.0/24, gateway: 192.0.2.1}
  - type: physical
    name: eth0
    subnets:
      - type: static
        address: 192.0.2.10/24
        routes:
          - {network: 0.0.0.0, netmask: 0.0.0.0, gateway: 192.0.2.1}
          - {network: 198.51.100.0, netmask: 255.255.255.0, gateway: 192.0.2.2}
      - {type: static, address: nonsense}
      - {type: unknown}
""")
    assert network["interfaces"]["eth0"]["gateway"] == "192.0.2.1"
    assert network["interfaces"]["eth0"]["addresses"] == ["192.0.2.10/24"]
    assert warnings == (
        "network-config: bond bond0 is not supported",
        "network-config: the route to 198.51.100.0/24 is not supported",
        "network-config: eth0: the route to 198.51.100.0 is not supported",
        "network-config: eth0: 'nonsense' is no address, ignoring it",
        "network-config: eth0: subnet type 'unknown' is not supported",
    )


def test_version_2() -> None:
    network, warnings = netplan("""
network:
  version: 2
  ethernets:
    id0:
      match: {macaddress: "52:54:00:12:34:00"}
      set-name: id0
      addresses: [192.0.2.10/24, "2001:db8::10/64": {label: x}]
      routes: [{to: default, via: 192.0.2.1}, {to: "::/0", via: "fe80::1"}]
      nameservers: {addresses: [192.0.2.53], search: [a.example]}
      mtu: 9000
    eth1: {dhcp4: true, dhcp6: false, optional: true, dhcp4-overrides: {use-dns: false}}
""")
    assert network == {
        "interfaces": {
            "eth0": {
                "addresses": ["192.0.2.10/24", "2001:db8::10/64"],
                "dhcp": False,
                "gateway": "192.0.2.1",
                "gateway6": "fe80::1",
                "mtu": 9000,
            }
        },
        "nameservers": ["192.0.2.53"],
        "search": ["a.example"],
    }
    assert warnings == ()


def test_version_2_without_addresses_is_off_or_asks() -> None:
    network, _ = netplan("{version: 2, ethernets: {eth0: {dhcp4: false}, eth1: {dhcp6: true}}}")
    assert network == {"interfaces": {"eth0": {"dhcp": False}}}


def test_version_2_names_what_it_leaves_out() -> None:
    network, warnings = netplan("""
version: 2
bonds: {bond0: {interfaces: [eth0]}}
vlans: {v5: {id: 5, link: eth0}}
ethernets:
  any: {match: {name: "en*"}, dhcp4: true}
  eth0: {set-name: wan0, wakeonlan: true, routes: [{to: 198.51.100.0/24, via: 192.0.2.1}]}
  id1: {match: {macaddress: "00:00:00:00:00:09", driver: e1000}, addresses: [192.0.2.1/24]}
""")
    assert network == {}
    assert warnings == (
        "network-config: bonds: bond0 is not supported",
        "network-config: vlans: v5 is not supported",
        "network-config: any: match by the pattern en* is not supported",
        "network-config: eth0.wakeonlan is not supported",
        "network-config: eth0: interfaces are not renamed, wan0 keeps its name",
        "network-config: eth0: the route to 198.51.100.0/24 is not supported",
        "network-config: id1: match by driver is not supported",
        "network: the machine has no interface (without a name)",
        "network: the machine has no interface 00:00:00:00:00:09",
    )


def test_a_version_that_is_not_known() -> None:
    assert "version 3 is not known" in netplan("version: 3")[1][0]
    assert netplan("{}") == netplan("") == ({}, ())


@pytest.mark.parametrize("data", [[], "x", 7, {"version": 1, "config": "x"}, {"version": 2}])
def test_any_type_anywhere(data: object) -> None:
    parse_network_config(data)
    parse_network_config({"version": 2, "ethernets": data})
    parse_network_config({"version": 2, "ethernets": {"eth0": data}})
    parse_network_config({"version": 2, "ethernets": {"eth0": {"addresses": data, "match": data}}})
    parse_network_config({"version": 1, "config": [{"type": "physical", "subnets": data}]})
    parse_network_config({"version": 1, "config": [{"type": "physical", "subnets": [data]}]})
    parse_network_data(data)
    parse_network_data({"links": [data], "networks": [data], "services": [data]})


NETWORK_DATA = {
    "links": [
        {"id": "tap0", "type": "ovs", "mtu": 1450, "ethernet_mac_address": "52:54:00:12:34:00"},
        {"id": "tap1", "type": "phy", "mtu": None, "ethernet_mac_address": "52:54:00:12:34:01"},
        {"id": "bond0", "type": "bond", "bond_links": ["tap0"]},
    ],
    "networks": [
        {
            "id": "network0",
            "link": "tap0",
            "type": "ipv4",
            "ip_address": "192.0.2.10",
            "netmask": "255.255.254.0",
            "routes": [
                {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"},
                {"network": "198.51.100.0", "netmask": "255.255.255.0", "gateway": "192.0.2.2"},
            ],
            "services": [{"type": "dns", "address": "192.0.2.53"}],
        },
        {
            "id": "network1",
            "link": "tap0",
            "type": "ipv6",
            "ip_address": "2001:db8::10",
            "netmask": "ffff:ffff:ffff:ffff::",
            "gateway": "2001:db8::1",
        },
        {"id": "network2", "link": "tap1", "type": "ipv4_dhcp"},
        {"id": "network3", "link": "bond0", "type": "ipv4_dhcp"},
    ],
    "services": [{"type": "dns", "address": "192.0.2.54"}, {"type": "ntp", "address": "x"}],
}


def test_network_data() -> None:
    network, warnings = to_network(parse_network_data(json.loads(json.dumps(NETWORK_DATA))), NAMES)
    assert network == {
        "interfaces": {
            "eth0": {
                "addresses": ["192.0.2.10/23", "2001:db8::10/64"],
                "dhcp": False,
                "gateway": "192.0.2.1",
                "gateway6": "2001:db8::1",
                "mtu": 1450,
            }
        },
        "nameservers": ["192.0.2.53", "192.0.2.54"],
    }
    assert warnings == (
        "network_data.json: bond bond0 is not supported",
        "network_data.json: the route to 198.51.100.0 is not supported",
    )


def test_cidr() -> None:
    assert cidr("192.0.2.1", "255.255.0.0") == "192.0.2.1/16"
    assert cidr("192.0.2.1", "24") == "192.0.2.1/24"
    assert cidr("192.0.2.1/8", "24") == "192.0.2.1/8"
    assert cidr("192.0.2.1") == "192.0.2.1/32"
    assert cidr("2001:db8::1", "ffff:ffff::") == "2001:db8::1/32"
    for address, mask in (("", ""), ("x", "24"), ("192.0.2.1", "255.0.255.0"), ("::1", "ff::ff")):
        with pytest.raises(ValueError):
            cidr(address, mask)


def test_is_default() -> None:
    assert is_default("default")
    assert is_default("0.0.0.0", "0.0.0.0")
    assert is_default("::", "")
    assert not is_default("0.0.0.0", "255.0.0.0")
    assert not is_default("", "")


def test_dhcp_beside_static_addresses() -> None:
    found = Nics([Nic(name="eth0", dhcp=True, addresses=["192.0.2.1/24"])])
    assert to_network(found, {})[0] == {
        "interfaces": {"eth0": {"addresses": ["192.0.2.1/24"], "dhcp": True}}
    }
