"""RancherOS's keys of the network."""

from __future__ import annotations

from tests.rancheros.seen import Document, in_force

NETWORK: tuple[Document, ...] = (
    Document(
        ("rancher.network.dns.nameservers", "rancher.network.dns.search"),
        """\
rancher:
  network:
    dns:
      nameservers: [192.0.2.53, 192.0.2.54]
      search: [fleet.example, example]
""",
        lambda seen: (
            seen.told("network", "nameservers") == ["192.0.2.53", "192.0.2.54"]
            and seen.told("network", "search") == ["fleet.example", "example"]
        ),
        "grep -qx 'nameserver 192.0.2.54' /etc/resolv.conf && "
        "grep -qx 'search fleet.example example' /etc/resolv.conf",
        together=True,
    ),
    Document(
        ("rancher.network.dhcp_timeout",),
        "rancher:\n  network:\n    dhcp_timeout: 3\n",
        in_force("orlop/network/wait_online", 3),
        together=True,
    ),
    Document(
        (
            "rancher.network.interfaces.NAME.address",
            "rancher.network.interfaces.NAME.gateway",
            "rancher.network.interfaces.NAME.gateway_ipv6",
            "rancher.network.interfaces.NAME.mtu",
            "rancher.network.interfaces.NAME.dhcp",
            "rancher.network.interfaces.NAME.post_up",
            "rancher.network.pre_cmds",
            "rancher.network.post_cmds",
        ),
        """\
rancher:
  network:
    pre_cmds: [ip route add 198.51.100.0/24 via 192.0.2.2]
    post_cmds: [ip route add 203.0.113.0/24 via 192.0.2.3]
    interfaces:
      eth1:
        address: 192.0.2.100/24
        gateway: 192.0.2.1
        gateway_ipv6: "fe80::1"
        mtu: 1400
        dhcp: false
        post_up:
        - ip route add 10.0.0.0/8 via 192.0.2.254
""",
        lambda seen: (
            seen.told("network", "interfaces")
            == {
                "eth1": {
                    "addresses": ["192.0.2.100/24"],
                    "gateway": "192.0.2.1",
                    "gateway6": "fe80::1",
                    "mtu": 1400,
                    "dhcp": False,
                }
            }
            and {route["to"] for route in seen.told("network", "routes")}
            == {"10.0.0.0/8", "198.51.100.0/24", "203.0.113.0/24"}
        ),
        "ip addr show eth1 | grep -q 'inet 192.0.2.100/24' && ip route | grep -q "
        "'^10.0.0.0/8 via 192.0.2.254' && test $(cat /sys/class/net/eth1/mtu) = 1400",
    ),
    Document(
        (
            "rancher.network.interfaces.NAME.addresses",
            "rancher.network.interfaces.NAME.bond",
            "rancher.network.interfaces.NAME.bond_opts",
            "rancher.network.interfaces.NAME.match",
            "rancher.network.interfaces.NAME.pre_up",
        ),
        """\
rancher:
  network:
    interfaces:
      bond0:
        addresses:
        - 192.0.2.33/31
        - 192.0.2.129/31
        gateway: 192.0.2.32
        bond_opts:
          downdelay: "200"
          lacp_rate: "1"
          miimon: "100"
          mode: "4"
          updelay: "200"
          xmit_hash_policy: layer3+4
        pre_up:
        - ip route add 10.0.0.0/8 via 192.0.2.128
      "mac=52:54:00:00:09:*":
        bond: bond0
      spare:
        match: mac=52:54:00:00:0a:01
        dhcp: false
""",
        lambda seen: (
            seen.told("network", "interfaces", "bond0", "bond_options", "mode") == 4
            and seen.told("network", "interfaces", "bond0", "bond_options", "miimon") == 100
            and seen.told("network", "interfaces", "bond0", "addresses")
            == ["192.0.2.33/31", "192.0.2.129/31"]
            and seen.told("network", "interfaces", "mac=52:54:00:00:09:*") == {"bond": "bond0"}
            and seen.told("network", "interfaces", "spare", "match") == {"mac": "52:54:00:00:0a:01"}
            and seen.told("network", "routes") == [{"to": "10.0.0.0/8", "via": "192.0.2.128"}]
        ),
        "grep -q '802.3ad' /sys/class/net/bond0/bonding/mode && "
        "grep -q fast /sys/class/net/bond0/bonding/lacp_rate && "
        "ip addr show bond0 | grep -q 'inet 192.0.2.129/31'",
    ),
    Document(
        ("rancher.network.interfaces.NAME.vlans", "rancher.network.interfaces.NAME.ipv4ll"),
        """\
rancher:
  network:
    interfaces:
      eth1:
        vlans: 100,200:foobar
      foobar:
        ipv4ll: true
""",
        lambda seen: (
            seen.told("network", "interfaces")
            == {"eth1": {"vlans": ["100", "200:foobar"]}, "foobar": {"ipv4ll": True}}
        ),
        "grep -q 'VID: 200' /proc/net/vlan/foobar && test -d /sys/class/net/eth1.100 && "
        "ip addr show foobar | grep -q 'inet 169.254.'",
    ),
    Document(
        ("rancher.network.interfaces.NAME.bridge",),
        """\
rancher:
  network:
    interfaces:
      br0:
        bridge: true
        dhcp: true
      eth1:
        bridge: br0
""",
        lambda seen: (
            seen.told("network", "interfaces")
            == {"br0": {"bridge": True, "dhcp": True}, "eth1": {"bridge": "br0"}}
        ),
        "test -d /sys/class/net/br0/brif/eth1",
    ),
)
