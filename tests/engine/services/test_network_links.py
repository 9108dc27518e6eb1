"""The kernel's network becomes what the configuration says, and what it was: in namespaces."""

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.engine.services.namespaces import (
    NetworkNamespace,
    cable,
    network_namespace,
    wait_until,
)

pytestmark = [pytest.mark.engine, pytest.mark.root]


def kernel_has(kind: str) -> bool:
    """Whether links of *kind* can be made here: not every kernel that tests run on has all."""
    probe = [
        "unshare",
        "--net",
        "sh",
        "-c",
        f"ip link add x0 type {kind} || ip link add x1 link lo type {kind}",
    ]
    said = subprocess.run(probe, capture_output=True, text=True, check=False).stderr
    return "Unknown device type" not in said


def needs(*kinds: str) -> pytest.MarkDecorator:
    missing = [kind for kind in kinds if not kernel_has(kind)]
    return pytest.mark.skipif(bool(missing), reason=f"this kernel has no {', '.join(missing)}")


PROGRAM = Path(__file__).with_name("network_program.py")


class Machine:
    """A machine in a namespace, whose network is what `apply` last said."""

    def __init__(self, root: Path, name: str, namespace: NetworkNamespace) -> None:
        self.namespace = namespace
        self.own, self.shared = root / name / "own", root / name / "shared"
        self.own.mkdir(parents=True)
        self.shared.mkdir()

    def run(self, *argv: str) -> str:
        return self.namespace.run(*argv)

    def apply(self, network: dict[str, object]) -> str:
        """What the program complains of."""
        settings = self.own / "settings.json"
        settings.write_text(json.dumps(network))
        argv = [sys.executable, str(PROGRAM), str(settings), str(self.own), str(self.shared)]
        done = subprocess.run(
            self.namespace.command(*argv, "apply"), capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 3), done.stderr
        return done.stderr

    def snapshot(self) -> str:
        """Everything that the program might change, without what comes by itself."""
        parts = [self.run("ip", "-o", "link"), self.run("ip", "rule")]
        parts += [self.run("ip", "-o", "addr"), self.run("ip", "-6", "rule")]
        parts += [
            self.run("ip", f"-{version}", "route", "show", "table", "all") for version in "46"
        ]
        words = r"qdisc \w+ |dynamic |tentative |linkdown "
        lines = re.sub(words, "", "".join(parts)).splitlines()
        return "\n".join(line for line in lines if "fe80::" not in line and "ff00::" not in line)

    def can_reach(self, address: str) -> bool:
        argv = self.namespace.command("ping", "-n", "-c", "1", "-W", "1", address)
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def link(self, name: str) -> dict[str, object]:
        found: list[dict[str, object]]
        found = json.loads(self.run("ip", "-j", "-d", "link", "show", "dev", name))
        return found[0]

    def names(self) -> set[str]:
        return {entry["ifname"] for entry in json.loads(self.run("ip", "-j", "link"))}

    def addresses(self, name: str) -> set[str]:
        found = json.loads(self.run("ip", "-j", "addr", "show", "dev", name))[0]["addr_info"]
        return {
            f"{item['local']}/{item['prefixlen']}" for item in found if item["scope"] == "global"
        }


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines with two cables between them, `eth0` and `eth1` on both sides."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(network_namespace()) for _ in range(2))
        for name in ("eth0", "eth1"):
            cable(first, name, second, name)
        yield Machine(tmp_path, "a", first), Machine(tmp_path, "b", second)


def vlan_bond(number: int) -> dict[str, object]:
    return {
        "interfaces": {
            "eth*": {"bond": "bond0"},
            "bond0": {
                "bond_options": {"mode": "active-backup", "primary": "eth0"},
                "dhcp": False,
                "mtu": 1400,
                "vlans": ["100", "200:storage"],
            },
            "bond0.100": {"addresses": [f"10.1.0.{number}/24", f"fd01::{number}/64"]},
            "storage": {"bridge": "br0"},
            "br0": {"addresses": [f"10.2.0.{number}/24"], "bridge_options": {"stp": False}},
        }
    }


@needs("bond", "vlan")
def test_a_bond_with_vlans_loses_a_link_and_goes(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    a.run("ip", "addr", "add", "192.0.2.1/24", "dev", "eth0")
    before = a.names()
    assert a.apply(vlan_bond(1)) == ""
    assert b.apply(vlan_bond(2)) == ""
    assert a.link("eth0")["master"] == a.link("eth1")["master"] == "bond0"
    assert a.link("bond0")["mtu"] == a.link("eth0")["mtu"] == 1400
    wait_until(lambda: a.can_reach("10.1.0.2"), "VLAN 100")
    wait_until(lambda: a.can_reach("10.2.0.2"), "the bridge on VLAN 200")
    wait_until(lambda: a.can_reach("fd01::2"), "VLAN 100, IPv6")

    as_it_is = a.snapshot()
    assert a.apply(vlan_bond(1)) == ""
    assert a.snapshot() == as_it_is

    b.run("ip", "link", "set", "eth0", "down")
    wait_until(lambda: a.can_reach("10.1.0.2"), "traffic over the other link")
    assert "active_slave eth1" in a.run("ip", "-d", "link", "show", "dev", "bond0")

    assert a.apply({}) == ""
    assert a.names() == before
    assert "master" not in a.link("eth0")
    assert a.link("eth0")["mtu"] == 1500
    assert "192.0.2.1/24" in a.addresses("eth0")  # not of ours, and still there


def test_addresses_routes_and_rules_come_and_go(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    for machine, name in ((b, "eth0"), (b, "eth1"), (a, "eth1")):
        machine.run("ip", "link", "set", name, "up")
    a.run("ip", "addr", "add", "198.51.100.9/24", "dev", "eth1")
    a.run("ip", "route", "add", "203.0.113.0/24", "dev", "eth1")
    wanted: dict[str, object] = {
        "interfaces": {
            "eth0": {
                "addresses": ["10.0.0.1/24", "10.0.0.5/24", "fd00::1/64"],
                "gateway": "10.0.0.254",
                "gateway6": "fd00::fe",
                "mtu": 1400,
                "metric": 50,
            },
            "eth1": {"addresses": ["192.0.2.7/32"], "gateway": "172.31.1.1", "metric": 60},
        },
        "routes": [
            {"to": "10.8.0.0/16", "via": "10.0.0.2", "metric": 7},
            {"to": "10.9.0.0/16", "interface": "eth1", "table": 100, "mtu": 1300},
            {"to": "default", "via": "10.0.0.3", "table": 1000},
            {"to": "10.10.0.0/16", "via": "10.0.0.2", "source": "10.0.0.5"},
            {"to": "10.11.0.0/16", "via": "172.16.0.1", "interface": "eth0", "on_link": True},
            {"to": "10.66.0.0/16", "type": "blackhole"},
            {"to": "fd66::/32", "type": "unreachable"},
        ],
        "rules": [
            {"from": "192.0.2.0/24", "table": 100},
            {"mark": "0x10/0xff", "table": 1000, "priority": 50},
            {"to": "fd99::/64", "type": "prohibit"},
            {"iif": "eth1", "table": 100},
            {"oif": "eth0", "table": 1000},
        ],
    }
    assert a.apply(wanted) == ""
    assert a.addresses("eth0") == {"10.0.0.1/24", "10.0.0.5/24", "fd00::1/64"}
    routes = a.run("ip", "-4", "route", "show", "table", "all")
    for line in (
        "default via 10.0.0.254 dev eth0 proto 79 metric 50",
        "default via 172.31.1.1 dev eth1 proto 79 metric 60 onlink",
        "10.8.0.0/16 via 10.0.0.2 dev eth0 proto 79 metric 7",
        "default via 10.0.0.3 dev eth0 table 1000 proto 79",
        "10.10.0.0/16 via 10.0.0.2 dev eth0 proto 79 src 10.0.0.5",
        "10.11.0.0/16 via 172.16.0.1 dev eth0 proto 79 onlink",
        "blackhole 10.66.0.0/16 proto 79",
    ):
        assert line in routes
    assert "dev eth1 table 100 proto 79 scope link mtu 1300" in routes
    six = a.run("ip", "-6", "route")
    assert "default via fd00::fe dev eth0 proto 79 metric 50" in six
    assert "unreachable fd66::/32 dev lo proto 79" in six
    rules = a.run("ip", "rule")
    assert "1000:\tfrom 192.0.2.0/24 lookup 100 proto 79" in rules
    assert "50:\tfrom all fwmark 0x10/0xff lookup 1000 proto 79" in rules
    assert "from all iif eth1 lookup 100 proto 79" in rules
    assert "from all oif eth0 lookup 1000 proto 79" in rules
    assert "fwmark 0x10/0xff lookup 1000" in a.run("ip", "-6", "rule")

    as_it_is = a.snapshot()
    assert a.apply(wanted) == ""
    assert a.snapshot() == as_it_is

    interfaces = {"eth0": {"addresses": ["10.0.0.5/24"]}}
    assert (
        a.apply({"interfaces": interfaces, "routes": [{"to": "10.8.0.0/16", "via": "10.0.0.2"}]})
        == ""
    )
    assert a.addresses("eth0") == {"10.0.0.5/24"}
    assert "10.8.0.0/16 via 10.0.0.2 dev eth0 proto 79 \n" in a.run("ip", "-4", "route")
    assert a.link("eth0")["mtu"] == 1500

    assert a.apply({}) == ""
    assert "79" not in re.findall(r"proto (\S+)", a.snapshot())
    assert a.addresses("eth1") == {"198.51.100.9/24"}
    assert a.addresses("eth0") == set()
    assert "203.0.113.0/24 dev eth1" in a.run("ip", "route")


def test_what_is_described_by_its_address(machines: tuple[Machine, Machine]) -> None:
    a, _ = machines
    address = str(a.link("eth1")["address"])
    entries: dict[str, object] = {
        "uplink": {"match": {"mac": address.upper().lower()}, "addresses": ["10.0.0.1/24"]},
        "eth*": {"addresses": ["10.7.0.1/24"]},
        "eth9": {"addresses": ["10.99.0.1/24"]},
    }
    routes = [{"to": "10.8.0.0/16", "interface": "uplink"}]
    assert a.apply({"interfaces": entries, "routes": routes}) == ""
    assert a.addresses("eth1") == {"10.0.0.1/24"}
    assert a.addresses("eth0") == {"10.7.0.1/24"}
    assert "10.8.0.0/16 dev eth1" in a.run("ip", "route")


@needs("bond")
def test_a_bond_by_lacp(machines: tuple[Machine, Machine]) -> None:
    options = {"mode": "802.3ad", "lacp_rate": "fast", "xmit_hash_policy": "layer3+4", "miimon": 50}

    def wanted(number: int, **more: object) -> dict[str, object]:
        bond = {"bond_options": {**options, **more}, "addresses": [f"10.3.0.{number}/24"]}
        return {"interfaces": {"eth0": {"bond": "b"}, "eth1": {"bond": "b"}, "b": bond}}

    a, b = machines
    assert a.apply(wanted(1)) == b.apply(wanted(2)) == ""
    wait_until(lambda: a.can_reach("10.3.0.2"), "an answer over the bond")
    kernel = a.run("ip", "-d", "link", "show", "dev", "b")
    for text in ("mode 802.3ad", "lacp_rate fast", "xmit_hash_policy layer3+4", "miimon 50"):
        assert text in kernel
    index = a.link("b")["ifindex"]
    assert a.apply(wanted(1, lacp_rate="slow", miimon=200)) == ""
    kernel = a.run("ip", "-d", "link", "show", "dev", "b")
    assert "lacp_rate slow" in kernel
    assert "miimon 200" in kernel
    assert a.link("b")["ifindex"] == index
    # Another mode needs another bond; its members and addresses are there again.
    plain = {"mode": "active-backup"}
    bond = {"bond_options": plain, "addresses": ["10.3.0.1/24"]}
    entries = {"eth0": {"bond": "b"}, "eth1": {"bond": "b"}, "b": bond}
    assert a.apply({"interfaces": entries}) == ""
    assert "mode active-backup" in a.run("ip", "-d", "link", "show", "dev", "b")
    assert a.link("eth0")["master"] == "b"
    assert a.addresses("b") == {"10.3.0.1/24"}


def test_bridges_come_and_those_of_others_stay(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    a.run("ip", "link", "add", "br9", "type", "bridge")
    a.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    a.run("ip", "link", "set", "v0", "master", "br9")
    before = a.names()
    assert b.apply({"interfaces": {"eth0": {"addresses": ["10.0.0.2/24"]}}}) == ""
    entries: dict[str, object] = {
        "eth0": {"bridge": "br0"},
        "br0": {
            "addresses": ["10.0.0.1/24"],
            "bridge_options": {"stp": True, "forward_delay": 4},
        },
        "v1": {"bridge": "br9"},
    }
    assert a.apply({"interfaces": entries}) == ""
    assert a.link("eth0")["master"] == "br0"
    assert a.link("v1")["master"] == a.link("v0")["master"] == "br9"
    wait_until(lambda: a.can_reach("10.0.0.2"), "an answer over the bridge")
    a.run("ip", "link", "set", "v0", "master", "br0")  # as a container's end would be
    index = a.link("br0")["ifindex"]
    assert a.apply({"interfaces": entries}) == ""
    assert a.link("br0")["ifindex"] == index
    assert a.link("v0")["master"] == "br0"
    said = a.apply({"interfaces": {"v1": {"bond": "br9"}}})
    assert "br9: is a bridge already" in said
    a.run("ip", "link", "set", "v0", "master", "br9")
    assert a.apply({}) == ""
    assert a.names() == before
    assert a.link("v0")["master"] == "br9"
    assert "master" not in a.link("eth0")


def genkey() -> tuple[str, str]:
    """A private key and its public one."""
    done = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "X25519", "-outform", "DER"],
        capture_output=True,
        check=True,
    )
    public = subprocess.run(
        ["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"],
        input=done.stdout,
        capture_output=True,
        check=True,
    )
    keys = [base64.b64encode(data[-32:]).decode() for data in (done.stdout, public.stdout)]
    return keys[0], keys[1]


@needs("wireguard")
def test_a_tunnel_between_two(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    keys = genkey(), genkey()
    shared = genkey()[0]

    def wanted(own: int, port: int = 51820) -> dict[str, object]:
        peer = {
            "public_key": keys[2 - own][1],
            "preshared_key": shared,
            "allowed_ips": [f"10.9.0.{3 - own}/32", "fd09::/64"],
            "endpoint": f"10.0.0.{3 - own}:51820",
            "keepalive": 25,
        }
        tunnel = {"private_key": keys[own - 1][0], "listen_port": port, "peers": [peer]}
        return {
            "interfaces": {
                "eth0": {"addresses": [f"10.0.0.{own}/24"]},
                "wg0": {"addresses": [f"10.9.0.{own}/32", f"fd09::{own}/64"], "wireguard": tunnel},
            }
        }

    assert a.apply(wanted(1)) == b.apply(wanted(2)) == ""
    wait_until(lambda: a.can_reach("10.9.0.2"), "an answer through the tunnel")
    wait_until(lambda: b.can_reach("fd09::1"), "an answer through the tunnel, IPv6")
    index = a.link("wg0")["ifindex"]
    as_it_is = a.snapshot()
    assert a.apply(wanted(1)) == ""
    assert a.snapshot() == as_it_is
    assert a.link("wg0")["ifindex"] == index
    assert a.apply({"interfaces": {"eth0": {"addresses": ["10.0.0.1/24"]}}}) == ""
    assert "wg0" not in a.names()


def test_macvlan_beside_its_parent(machines: tuple[Machine, Machine]) -> None:
    a, b = machines
    assert b.apply({"interfaces": {"eth0": {"addresses": ["10.0.0.2/24"]}}}) == ""
    entries = {
        "eth0": {"dhcp": False, "macvlans": ["shim0:bridge"]},
        "shim0": {"addresses": ["10.0.0.1/24"], "mac": "02:00:00:00:00:77"},
    }
    assert a.apply({"interfaces": entries}) == ""
    wait_until(lambda: a.can_reach("10.0.0.2"), "an answer")
    assert a.link("shim0")["address"] == "02:00:00:00:00:77"
    assert a.apply({}) == ""
    assert "shim0" not in a.names()


@needs("vxlan")
def test_vxlan_between_two(machines: tuple[Machine, Machine]) -> None:
    def wanted(number: int, **more: object) -> dict[str, object]:
        tunnel = {"id": 42, "remote": f"10.0.0.{3 - number}", **more}
        return {
            "interfaces": {
                "eth0": {"addresses": [f"10.0.0.{number}/24"]},
                "over": {"vxlan": tunnel, "addresses": [f"10.5.0.{number}/24"]},
            }
        }

    a, b = machines
    before = a.names()
    assert a.apply(wanted(1)) == b.apply(wanted(2)) == ""
    wait_until(lambda: a.can_reach("10.5.0.2"), "an answer through the tunnel")
    assert a.link("over")["mtu"] == 1450
    as_it_is = a.snapshot()
    assert a.apply(wanted(1)) == ""
    assert a.snapshot() == as_it_is
    # To a group, out of an interface, by another port: what is there is made anew.
    more = {"remote": "239.1.1.1", "interface": "eth0", "port": 8472, "ttl": 3}
    assert a.apply(wanted(1, local="10.0.0.1", **more)) == ""
    assert b.apply(wanted(2, **more)) == ""
    wait_until(lambda: a.can_reach("10.5.0.2"), "an answer through the group")
    said = a.run("ip", "-d", "link", "show", "dev", "over")
    assert "vxlan id 42 group 239.1.1.1 local 10.0.0.1 dev eth0" in said
    assert "dstport 8472 ttl 3" in said
    as_it_is = a.snapshot()
    assert a.apply(wanted(1, local="10.0.0.1", **more)) == ""
    assert a.snapshot() == as_it_is
    assert a.apply({}) == ""
    assert a.names() == before
