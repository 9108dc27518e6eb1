"""Bonds, VLANs, bridges and tunnels between two machines with two cables, from first boot on."""

import base64
import json
import subprocess
from collections.abc import Iterator

import pytest

from orlop.vm.machine import Machine
from orlop.vm.spec import LinkNet
from tests.vm import guest
from tests.vm.lab import Lab

MACS = {name: [f"52:54:00:00:0{card}:0{name}" for card in (1, 2)] for name in ("a", "b")}
type Pair = tuple[Machine, Machine]


def network(number: int, **interfaces: object) -> dict[str, object]:
    """What both machines have in common, but for their *number*."""
    macs = MACS["ab"[number - 1]]
    common: dict[str, object] = {
        "first": {"match": f"mac={macs[0]}", "bond": "bond0"},
        "eth*": {"bond": "bond0"},
        "bond0": {
            "bond_options": {"miimon": 50},
            "dhcp": False,
            "vlans": [100, "200:storage"],
        },
        "bond0.100": {"addresses": [f"10.1.0.{number}/24", f"fd01::{number}/64"], "mtu": 1400},
        "storage": {"addresses": [f"10.2.0.{number}/24"], "optional": True},
    }
    routes = [{"to": "10.64.0.0/16", "via": f"10.1.0.{3 - number}"}]
    return {"orlop": {"network": {"interfaces": common | interfaces, "routes": routes}}}


@pytest.fixture(scope="module")
def machines(lab: Lab) -> Iterator[Pair]:
    ends = {name: [lab.scratch / f"links-{name}{card}" for card in "01"] for name in "ab"}
    nics = {
        name: tuple(
            LinkNet(ends[name][card], ends[other][card], MACS[name][card]) for card in (0, 1)
        )
        for name, other in (("a", "b"), ("b", "a"))
    }
    with (
        lab.machine(lab.kernel(), "a", nics=nics["a"], memory_mib=256, config=network(1)) as first,
        lab.machine(lab.kernel(), "b", nics=nics["b"], memory_mib=256, config=network(2)) as second,
    ):
        first.start()
        second.boot()
        first.wait_for_ready()
        for machine in (first, second):
            guest.wait_for_services(machine)
        yield first, second


def reaches(machine: Machine, *addresses: str) -> None:
    for address in addresses:
        ping = "ping6" if ":" in address else "ping"
        machine.wait_until_succeeds(f"{ping} -c 1 -W 5 {address}", timeout_s=120)


def test_bond_with_vlans_at_boot(machines: Pair) -> None:
    a, b = machines
    reaches(a, "10.1.0.2", "10.2.0.2", "fd01::2")
    reaches(b, "10.1.0.1", "10.2.0.1", "fd01::1")
    links = a.succeed("ip link show")
    assert links.count("master bond0") == 2
    assert "mtu 1400" in a.succeed("ip link show bond0.100")
    assert "10.64.0.0/16 via 10.1.0.2" in a.succeed("ip route")
    online = "orlop exec network sh -c '[ -e /run/orlop/network/online ]'"
    a.wait_until_succeeds(online, timeout_s=120)
    assert not [text for text in guest.warnings(a) if "network" in text]


def merge(machine: Machine, **interfaces: object) -> None:
    """Add to what the machine was told at boot."""
    document = json.dumps({"orlop": {"network": {"interfaces": interfaces}}})
    answer = machine.run(["orlop", "config", "merge"], stdin=document.encode())
    assert answer.status == 0, answer


def test_a_link_is_lost_and_traffic_goes_on(machines: Pair) -> None:
    a, b = machines
    for machine in machines:
        merge(machine, bond0={"bond_options": {"mode": "active-backup", "primary": "first"}})
    active = "/sys/class/net/bond0/bonding/active_slave"
    for machine in machines:
        mode = "grep -q active-backup /sys/class/net/bond0/bonding/mode"
        machine.wait_until_succeeds(f"{mode} && ip -o addr | grep -q 10.1.0", timeout_s=120)
    find = f"grep -l {MACS['a'][0]} /sys/class/net/eth*/bonding_slave/perm_hwaddr"
    first = a.wait_until_succeeds(find, timeout_s=120).split("/")[4]
    a.wait_until_succeeds(f'test "$(cat {active})" = {first}', timeout_s=120)
    reaches(a, "10.1.0.2")
    for machine in machines:
        machine.qmp.execute("set_link", {"name": "net0", "up": False})
    a.wait_until_succeeds(f'test "$(cat {active})" != {first}', timeout_s=120)
    reaches(a, "10.1.0.2", "fd01::2")
    for machine in machines:
        machine.qmp.execute("set_link", {"name": "net0", "up": True})
    a.wait_until_succeeds(f'test "$(cat {active})" = {first}', timeout_s=120)
    reaches(b, "10.1.0.1")


def key_pair() -> tuple[str, str]:
    """A private key of WireGuard, and the public one."""
    make = ["openssl", "genpkey", "-algorithm", "X25519", "-outform", "DER"]
    private = subprocess.run(make, capture_output=True, check=True).stdout
    show = ["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"]
    public = subprocess.run(show, input=private, capture_output=True, check=True).stdout
    keys = [base64.b64encode(data[-32:]).decode() for data in (private, public)]
    return keys[0], keys[1]


def test_changes_at_run_time(machines: Pair) -> None:
    """LACP instead, a bridge over a VLAN, a tunnel; and all of it goes again."""
    keys = key_pair(), key_pair()
    for index, machine in enumerate(machines):
        own, other = index + 1, 2 - index
        peer = {
            "public_key": keys[1 - index][1],
            "allowed_ips": [f"10.9.0.{other}/32"],
            "endpoint": f"10.1.0.{other}:51820",
        }
        key = {"private_key": keys[index][0], "listen_port": 51820, "peers": [peer], "mark": 51}
        merge(
            machine,
            bond0={"bond_options": {"mode": "802.3ad", "lacp_rate": "fast"}},
            storage={"bridge": "br0"},
            br0={"addresses": [f"10.3.0.{own}/24"], "macvlans": ["shim0"]},
            shim0={"addresses": [f"10.4.0.{own}/24"]},
            wg0={"addresses": [f"10.9.0.{own}/32"], "wireguard": key},
        )
    a, b = machines
    for machine, number in ((a, 2), (b, 1)):
        reaches(machine, f"10.1.0.{number}", f"10.3.0.{number}", f"10.4.0.{number}")
        reaches(machine, f"10.9.0.{number}")
    assert a.succeed("cat /sys/class/net/bond0/bonding/mode") == "802.3ad 4\n"
    assert "10.9.0.2 dev wg0" in a.succeed("ip route")
    # What the tunnel sends has its mark, by which a rule may tell it.
    a.succeed("orlop config set orlop.network.rules '[{mark: 51, type: prohibit}]'")
    a.wait_until_succeeds("! ping -c 1 -W 1 10.9.0.2", timeout_s=120)
    reaches(a, "10.1.0.2")
    a.succeed("orlop config unset orlop.network.rules")
    reaches(a, "10.9.0.2")
    assert "(hidden)" in a.succeed("orlop config get orlop.network.interfaces.wg0")
    for machine in machines:
        machine.succeed("orlop config unset orlop.network.interfaces")
    for machine in machines:
        gone = "! ip link show wg0 && ! ip link show br0 && ! ip link show shim0"
        machine.wait_until_succeeds(gone, timeout_s=120)
    reaches(a, "10.1.0.2", "10.2.0.2")


def test_bridges_filter_vlans_and_vlans_are_in_vlans(machines: Pair) -> None:
    a, b = machines
    for own, machine in enumerate(machines, 1):
        merge(
            machine,
            storage={"vlans": ["300:outer:802.1ad", "400:trunk"]},
            outer={"dhcp": False, "vlans": [5]},
            trunk={"bridge": "br1", "bridge_vlans": [10, "20-30"]},
            br1={"addresses": [f"10.7.0.{own}/24"], "bridge_vlans": ["10:pvid:untagged"]},
            **{"outer.5": {"addresses": [f"10.6.0.{own}/24"]}},
        )
    reaches(a, "10.6.0.2", "10.7.0.2")
    merge(b, trunk={"bridge_vlans": ["11-30"]})
    a.wait_until_succeeds("! ping -c 1 -W 1 10.7.0.2", timeout_s=120)
    merge(b, trunk={"bridge_vlans": [10]})
    reaches(a, "10.7.0.2")
    for machine in machines:
        machine.succeed("orlop config unset orlop.network.interfaces")
    for machine in machines:
        machine.wait_until_succeeds("! ip link show br1 && ! ip link show outer", timeout_s=120)
    reaches(a, "10.1.0.2")
