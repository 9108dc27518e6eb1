"""Networks as others describe them: what is taken over, and what is named in a warning."""

import json
from typing import Any

import pytest
import yaml

from orlop.wire.cloud.netplan import parse_network_config
from orlop.wire.cloud.network_data import parse_network_data
from orlop.wire.cloud.nics import Nic, Nics, cidr, is_default, to_network
from orlop.wire.config.document import check_document
from orlop.wire.config.words import document

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


def test_version_1_with_bonds_and_routes() -> None:
    network, warnings = netplan("""
version: 1
config:
  - type: bond
    name: bond0
    bond_interfaces: [first, eth1]
    params: {bond-mode: 802.3ad, bond_miimon: 50, bond-lacp-rate: fast, bond-what: 1}
    subnets: [{type: dhcp4}]
  - {type: physical, name: first, mac_address: "52:54:00:12:34:00", mtu: 9000}
  - {type: physical, name: eth1}
  - type: vlan
    name: storage
    vlan_link: bond0
    vlan_id: 100
    subnets:
      - type: static
        address: 192.0.2.10/24
        routes:
          - {network: 0.0.0.0, netmask: 0.0.0.0, gateway: 192.0.2.1}
          - {network: 198.51.100.0, netmask: 255.255.255.0, gateway: 192.0.2.2}
      - {type: static, address: nonsense}
      - {type: unknown}
  - {type: bridge, name: br0, bridge_interfaces: [storage, gone], params: {bridge_stp: "on"}}
  - {type: route, destination: 203.0.113.0/24, gateway: 192.0.2.1, metric: 3}
  - {type: route, destination: nonsense, gateway: 192.0.2.1}
""")
    assert network == {
        "interfaces": {
            "bond0": {
                "bond_options": {"mode": 4, "miimon": 50, "lacp_rate": 1},
                "vlans": ["100:storage"],
            },
            "eth0": {"mtu": 9000, "bond": "bond0"},
            "storage": {"addresses": ["192.0.2.10/24"], "gateway": "192.0.2.1", "bridge": "br0"},
            "br0": {"bridge_options": {"stp": 1}, "dhcp": False},
            "eth1": {"bond": "bond0"},
        },
        "routes": [
            {"to": "203.0.113.0/24", "via": "192.0.2.1", "metric": 3},
            {"to": "198.51.100.0/24", "via": "192.0.2.2", "interface": "storage"},
        ],
    }
    assert warnings == (
        "network-config: bond0: bond-what is not supported",
        "network-config: storage: 'nonsense' is no address, ignoring it",
        "network-config: storage: subnet type 'unknown' is not supported",
        "network-config: no route to 'nonsense', ignoring it",
        "network: br0: there is no member gone",
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
            },
            "eth1": {"optional": True},
        },
        "nameservers": ["192.0.2.53"],
        "search": ["a.example"],
    }
    assert warnings == ()


def test_version_2_without_addresses_is_off_or_asks() -> None:
    network, _ = netplan("""
version: 2
ethernets: {eth0: {dhcp4: false}, eth1: {dhcp6: true}, eth2: {dhcp4: false, dhcp6: true}}
""")
    only_v6 = {"dhcp": False, "dhcp6": True, "ra": True}
    assert network == {"interfaces": {"eth0": {"dhcp": False}, "eth2": only_v6}}


def test_version_2_with_bonds_vlans_and_rules() -> None:
    network, warnings = netplan("""
version: 2
bonds:
  bond0:
    interfaces: [any, id0]
    macaddress: "02:00:00:00:00:01"
    parameters: {mode: active-backup, primary: id0, mii-monitor-interval: 100, up-delay: x}
vlans:
  v5:
    {id: 5, link: bond0, addresses: [192.0.2.7/24],
     routes: [{to: default, via: 192.0.2.1, table: 7}]}
  a-very-long-name-of-a-vlan: {id: 6, link: bond0, dhcp4: true}
bridges: {br0: {interfaces: [v5], parameters: {forward-delay: 4}}}
ethernets:
  any: {match: {name: "en*", driver: ixgbe}}
  id0: {match: {macaddress: "52:54:00:12:34:00"}, set-name: wan0, wakeonlan: true}
  eth1:
    dhcp4: true
    routes: [{to: 198.51.100.0/24, via: 192.0.2.1, metric: 5}]
    routing-policy: [{from: 192.0.2.0/24, table: 7, priority: 9}, {from: x}]
  id1: {match: {macaddress: "00:00:00:00:00:09"}, addresses: [192.0.2.1/24]}
tunnels: {wg0: {mode: wireguard}}
""")
    assert network == {
        "interfaces": {
            "any": {"match": {"name": "en*", "driver": "ixgbe"}, "bond": "bond0"},
            "bond0": {
                "bond_options": {"mode": 1, "primary": "eth0", "miimon": 100},
                "dhcp": False,
                "mac": "02:00:00:00:00:01",
                "vlans": ["5:v5", "6:bond0.6"],
            },
            "br0": {"bridge_options": {"forward_delay": 4}, "dhcp": False},
            "v5": {"addresses": ["192.0.2.7/24"], "bridge": "br0"},
            "eth0": {"bond": "bond0"},
        },
        "routes": [
            {"to": "198.51.100.0/24", "metric": 5, "via": "192.0.2.1", "interface": "eth1"},
            {"to": "default", "table": 7, "via": "192.0.2.1", "interface": "v5"},
        ],
        "rules": [{"table": 7, "priority": 9, "from": "192.0.2.0/24"}],
    }
    assert warnings == (
        "network-config: id0: interfaces are not renamed, wan0 keeps its name",
        "network-config: id0.wakeonlan is not supported",
        "network-config: eth1: a routing-policy is not supported",
        "network-config: bond0: up-delay must be 0 to 2147483647",
        "network-config: tunnels: wg0 is not supported",
        "network: the machine has no interface 00:00:00:00:00:09",
    )
    check_document(document("network-config", ("orlop", "network"), network))


def test_version_2_with_tunnels() -> None:
    key = "4Gf3r0Lq0Cc6mVfN3q1XQb0Ht1nJ6b3n1r0m8Lh6bEw="
    network, warnings = netplan(f"""
version: 2
ethernets: {{id0: {{match: {{macaddress: "52:54:00:12:34:00"}}}}}}
tunnels:
  over: {{mode: vxlan, id: 42, link: id0, remote: 192.0.2.9, port: 4789, addresses: [10.0.0.1/24]}}
  wg0:
    mode: wireguard
    keys: {{private: {key}}}
    port: 51820
    addresses: [10.9.0.1/32]
    peers:
      - keys: {{public: {key}, shared: {key}}}
        endpoint: vpn.example:51820
        allowed-ips: [10.9.0.0/24]
        keepalive: 25
  in-a-file: {{mode: wireguard, key: /etc/key}}
  gre0: {{mode: gre, local: 192.0.2.7, remote: 192.0.2.9}}
  nowhere: {{mode: vxlan, id: 5}}
  to-no-address: {{mode: vxlan, id: 5, remote: x}}
  to-no-port: {{mode: wireguard, key: {key}, peers: [{{keys: {{public: {key}}}, endpoint: "x:0"}}]}}
""")
    peer = {
        "public_key": key,
        "preshared_key": key,
        "endpoint": "vpn.example:51820",
        "keepalive": 25,
        "allowed_ips": ["10.9.0.0/24"],
    }
    vxlan = {"id": 42, "port": 4789, "remote": "192.0.2.9", "interface": "eth0"}
    assert network["interfaces"] == {
        "over": {"vxlan": vxlan, "addresses": ["10.0.0.1/24"], "dhcp": False},
        "wg0": {
            "wireguard": {"private_key": key, "listen_port": 51820, "peers": [peer]},
            "addresses": ["10.9.0.1/32"],
            "dhcp": False,
        },
    }
    assert warnings == tuple(
        f"network-config: tunnels: {name} is not supported"
        for name in ("in-a-file", "gre0", "nowhere", "to-no-address", "to-no-port")
    )
    check_document(document("network-config", ("orlop", "network"), network))


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
        {
            "id": "bond0",
            "type": "bond",
            "bond_links": ["tap1"],
            "bond_mode": "802.3ad",
            "bond_xmit_hash_policy": "layer3+4",
            "ethernet_mac_address": "52:54:00:12:34:01",
        },
        {"id": "vlan0", "type": "vlan", "vlan_link": "bond0", "vlan_id": 101},
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
        {"id": "network3", "link": "vlan0", "type": "ipv4_dhcp"},
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
            },
            "bond0": {
                "bond_options": {"mode": 4, "xmit_hash_policy": 1},
                "dhcp": False,
                "mac": "52:54:00:12:34:01",
                "vlans": ["101:bond0.101"],
            },
            "eth1": {"bond": "bond0"},
        },
        "nameservers": ["192.0.2.53", "192.0.2.54"],
        "routes": [{"to": "198.51.100.0/24", "via": "192.0.2.2", "interface": "eth0"}],
    }
    assert warnings == ()
    check_document(document("network_data.json", ("orlop", "network"), network))


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
