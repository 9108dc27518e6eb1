"""What is done to the kernel's network, from what is wanted and what there is."""

import ipaddress
import socket
from dataclasses import replace
from typing import Any

from orlop.services.network import operations as op
from orlop.services.network.diff import conflicts, plan_addresses, plan_links, plan_vlans
from orlop.services.network.model import PROTOCOL, Hardware, Wanted
from orlop.services.network.operations import Operation
from orlop.services.network.state import Before, State
from orlop.services.network.wanted import interpret
from orlop.wire.netlink.address import InterfaceAddress, Origin
from orlop.wire.netlink.link import Link, LinkFlag
from orlop.wire.netlink.route import Route
from orlop.wire.netlink.rule import Rule

CARDS = [
    Hardware("eth0", "52:54:00:00:00:01", "virtio_net", "0000:00:03.0"),
    Hardware("eth1", "52:54:00:00:00:02", "virtio_net", "0000:00:04.0"),
    Hardware("ens7", "52:54:00:00:00:03", "ixgbe", "0000:04:00.0"),
]
OURS, LEASE = Origin(PROTOCOL, True, 0), Origin(0, False, 0)
SOMEBODYS = Origin(0, True, 0)


def wanted(**interfaces: object) -> Wanted:
    return interpret({"interfaces": interfaces}, CARDS)


def link(index: int, name: str, kind: str = "", **more: Any) -> Link:
    values: dict[str, Any] = {
        "mac": b"RT\0\0\0" + bytes([index]),
        "mtu": 1500,
        "flags": LinkFlag.UP,
    }
    values |= {"master": 0, "parent": 0, "alias": op.MARK if kind else ""}
    return Link(index, name, kind, **(values | more))


def state(*links: Link, **more: Any) -> State:
    return State({one.name: one for one in links}, **more)


def address(index: int, text: str, origin: Origin) -> tuple[InterfaceAddress, Origin]:
    interface = ipaddress.ip_interface(text)
    return InterfaceAddress(index, interface.packed, interface.network.prefixlen), origin


def shown(operations: list[Operation]) -> list[str]:
    """The operations in words, without attributes."""
    names = ("name", "kind", "parent", "master", "member", "address", "mtu")
    return [
        " ".join(
            (type(one).__name__, *(str(getattr(one, n)) for n in names if getattr(one, n, "")))
        )
        for one in operations
    ]


BOND: dict[str, dict[str, object]] = {
    "eth*": {"bond": "bond0"},
    "bond0": {"bond_options": {"mode": 1, "primary": "eth0"}, "vlans": ["7:lan"], "mtu": 1400},
    "lan": {"addresses": ["192.0.2.7/24"]},
}


def test_everything_is_made_in_its_order() -> None:
    eth0, eth1 = link(2, "eth0"), link(3, "eth1", flags=0)
    operations, record = plan_links(wanted(**BOND), state(eth0, eth1), {})
    assert shown(operations) == [
        "MakeLink bond0 bond",
        "ChangeLink bond0 bond",
        "MakeLink lan vlan bond0",
        "SetMtu bond0 1400",
        "SetUp bond0",
        "SetMaster eth0 bond0",
        "SetUp eth0",
        "SetMaster eth1 bond0",
        "SetUp eth1",
        "SetUp lan",
        "SetPrimary bond0 eth0",
    ]
    assert record == RECORD


def made(**more: Any) -> list[Link]:
    data = wanted(**BOND).links["bond0"].data
    primary = {11: (2).to_bytes(4, "little")}
    bond = link(4, "bond0", "bond", mtu=1400, data={**data, **primary, **more})
    lan = link(5, "lan", "vlan", parent=4, data={1: b"\7\0", 5: b"\x81\0"})
    return [link(2, "eth0", master=4), link(3, "eth1", master=4), bond, lan]


RECORD = {name: Before(master="bond0") for name in ("eth0", "eth1")}


def test_nothing_is_done_where_all_is_so() -> None:
    here = state(*made(), addresses=(address(5, "192.0.2.7/24", OURS),))
    assert plan_links(wanted(**BOND), here, RECORD)[0] == []
    assert plan_addresses(wanted(**BOND), here) == []


def test_what_nobody_wants_any_more_goes() -> None:
    hand_made = link(9, "br9", "bridge", alias="")
    guest = link(10, "veth1", "veth", alias="", master=9)
    operations, record = plan_links(wanted(), state(*made(), hand_made, guest), RECORD)
    assert shown(operations) == ["DeleteLink lan", "DeleteLink bond0"]
    assert record == {}


def test_a_member_is_let_go_and_gets_back_what_it_had() -> None:
    here = state(link(2, "eth0", mtu=9000, master=4), *made()[2:])
    record = {"eth0": Before(1500, "52:54:00:00:00:09", "bond0")}
    entries = {name: BOND[name] for name in ("bond0", "lan")}
    operations, after = plan_links(wanted(**entries), here, record)
    assert shown(operations) == [
        *("SetMaster eth0", "SetUp eth0", "SetMtu eth0 1500"),
        *("SetMac eth0", "SetUp eth0"),
    ]
    assert after == {}


def test_an_option_is_changed_and_a_mode_is_not() -> None:
    options = {"mode": 1, "primary": "eth0", "updelay": 200}
    other = {**BOND, "bond0": {**BOND["bond0"], "bond_options": options}}
    operations, _ = plan_links(wanted(**other), state(*made()), RECORD)
    assert operations == [op.ChangeLink("bond0", "bond", {4: b"\xc8\0\0\0"})]
    lacp = {**BOND, "bond0": {**BOND["bond0"], "bond_options": {"mode": 4}}}
    operations, _ = plan_links(wanted(**lacp), state(*made()), RECORD)
    assert shown(operations)[:5] == [
        *("DeleteLink lan", "DeleteLink bond0", "MakeLink bond0 bond", "ChangeLink bond0 bond"),
        "MakeLink lan vlan bond0",
    ]
    assert "SetMaster eth0 bond0" in shown(operations)


def test_the_bond_that_its_driver_makes_is_taken() -> None:
    stray = link(4, "bond0", "bond", alias="", flags=0, data={1: b"\0", 3: bytes(4)})
    operations, _ = plan_links(wanted(**BOND), state(link(2, "eth0"), stray), {})
    assert shown(operations)[:3] == [
        "Adopt bond0",
        "ChangeLink bond0 bond",
        "ChangeLink bond0 bond",
    ]


def test_links_of_others() -> None:
    here = state(link(2, "eth0"), link(4, "bond0", "bridge", alias=""))
    assert conflicts(wanted(**BOND), here) == ["bond0: is a bridge already, no bond is made"]
    assert "MakeLink bond0 bond" not in shown(plan_links(wanted(**BOND), here, {})[0])


def test_addresses_of_ours_and_leases_go_and_others_stay() -> None:
    here = state(
        link(2, "eth0"),
        addresses=(
            address(2, "192.0.2.7/24", LEASE),
            address(2, "192.0.2.8/24", OURS),
            address(2, "192.0.2.9/24", SOMEBODYS),
            address(2, "192.0.2.10/24", SOMEBODYS),
            address(2, "192.0.2.77/24", LEASE),
            address(2, "2001:db8::7/64", LEASE),
            address(2, "fe80::1/64", Origin(3, True, 253)),
        ),
    )
    want = wanted(eth0={"addresses": ["192.0.2.7/24", "192.0.2.9/24"], "ra": True})
    assert shown(plan_addresses(want, here, {"eth0": "192.0.2.10/24"})) == [
        "DeleteAddress eth0 192.0.2.8/24",
        "DeleteAddress eth0 192.0.2.10/24",
        "DeleteAddress eth0 192.0.2.77/24",
        "AddAddress eth0 192.0.2.7/24",
    ]
    assert shown(plan_addresses(wanted(), here)) == ["DeleteAddress eth0 192.0.2.8/24"]


def test_routes() -> None:
    want = interpret(
        {
            "interfaces": {"eth0": {"addresses": ["192.0.2.7/24"], "gateway": "192.0.2.1"}},
            "routes": [{"to": "10.0.0.0/8", "interface": "eth9"}],
        },
        CARDS,
    )
    gateway = bytes([192, 0, 2, 1])
    default = Route(socket.AF_INET, b"", 0, 2, gateway, protocol=PROTOCOL)
    by_hand = replace(default, metric=9, protocol=3)
    of_dhcp = replace(default, metric=1002, protocol=16)
    old = replace(default, destination=bytes([10, 1, 0, 0]), prefix_length=16)
    here = state(link(2, "eth0"), routes=(by_hand, of_dhcp, old))
    assert plan_addresses(want, here)[1:] == [
        *(op.DeleteRoute(of_dhcp), op.DeleteRoute(old)),
        op.AddRoute(replace(default, output=0), "eth0"),
    ]
    here = state(link(2, "eth0"), routes=(by_hand, default))
    assert shown(plan_addresses(want, here)) == ["AddAddress eth0 192.0.2.7/24"]


def test_rules() -> None:
    want = interpret(
        {"rules": [{"from": "192.0.2.0/24", "table": 7}, {"iif": "eth0", "table": 8}]}, []
    )
    first, second, sixth = want.rules
    assert (first.priority, second.priority, sixth.priority) == (1000, 1001, 1001)
    assert (second.family, sixth.family) == (socket.AF_INET, socket.AF_INET6)
    kernels = Rule(socket.AF_INET, table=254, priority=32766, protocol=2)
    old = Rule(socket.AF_INET, table=9, priority=5, protocol=PROTOCOL)
    here = state(rules=(kernels, old, replace(first, protocol=0), sixth))
    assert plan_addresses(want, here) == [op.DeleteRule(old), op.AddRule(second)]


def test_what_fits_best_is_taken() -> None:
    want = wanted(
        **{
            "eth*": {"mtu": 1400},
            "eth0": {"mtu": 1401},
            "driver=ixgbe": {"mtu": 1402},
            "any": {"match": {"name": "*", "path": "0000:04:*"}, "mtu": 1403},
            "mac=52:54:00:00:00:02": {"mtu": 1404},
            "mac=00:00:00:00:00:99": {"mtu": 1405},
        }
    )
    assert {name: one.mtu for name, one in want.links.items()} == {
        "eth0": 1401,
        "eth1": 1404,
        "ens7": 1403,
    }


def test_what_cannot_be_is_said() -> None:
    want = wanted(
        eth0={"bond": "b0", "bridge": "br0"},
        eth1={"vlans": ["5:eth0", "6:a-name-which-is-too-long"], "bond": "eth0"},
        b0={"bond": "b0"},
        wg0={"wireguard": {"listen_port": 7}},
        br0={"bridge": True, "gateway": "192.0.2.1", "gateway6": "fe80::1"},
        lo={"addresses": ["192.0.2.99/32"], "gateway": "192.0.2.1"},
    )
    assert [text.split(":")[0] for text in want.problems] == [
        *("eth0", "wg0", "eth0", "a-name-which-is-too-long", "eth0", "eth1", "b0"),
        "two routes to default have the same metric",
    ]
    assert want.links["lo"].addresses == ("192.0.2.99/32",)


def test_parts_of_a_machine_without_an_entry_ask_for_nothing() -> None:
    want = wanted(eth0={"vlans": ["5"]}, eth1={"bond": "b0"})
    asks = {name: one.automatic.any for name, one in want.links.items()}
    assert asks == {"eth0": True, "eth0.5": False, "eth1": False, "b0": False}


def test_vlans_of_a_bridges_ports() -> None:
    found = wanted(
        eth0={"bridge": "br0", "bridge_vlans": ["10:pvid:untagged", "20-22"]},
        eth1={"bridge": "br0"},
        br0={"vlans": ["20"]},
        ens7={"bridge_vlans": ["5"]},
    )
    assert found.problems == ("ens7: bridge_vlans: it is no port of a bridge",)
    bridge = found.links["br0"]
    assert bridge.create[7] == bridge.data[7] == b"\1"  # it filters, since a port's VLANs are said
    own = {1: 6, 20: 0}
    assert bridge.bridge_vlans == own
    assert found.links["br0.20"].bridge_vlans is None
    port = {10: 6, 20: 0, 21: 0, 22: 0}
    ports = {"eth0": {1: 6, 20: 4}, "eth1": {1: 6}, "br0": {1: 6}, "ens7": {1: 6}}
    assert plan_vlans(found, ports) == [
        op.SetVlans("br0", {20: 0}, (), own=True),
        op.SetVlans("eth0", port, (1,), own=False),
    ]
    assert plan_vlans(found, {"eth0": port, "eth1": {1: 6}, "br0": own}) == []


def test_a_bridge_that_is_not_to_filter() -> None:
    options = {"vlan_filtering": False}
    found = wanted(eth0={"bridge": "br0", "bridge_vlans": ["5"]}, br0={"bridge_options": options})
    assert found.problems == ("eth0: bridge_vlans: br0 is not to filter VLANs",)
    assert found.links["eth0"].bridge_vlans is None


def test_vlans_in_vlans() -> None:
    found = wanted(eth0={"vlans": ["100:outer:802.1ad", "7::802.1ad"]}, outer={"vlans": ["5"]})
    assert found.links["outer"].create == {1: b"\x64\0", 5: b"\x88\xa8"}
    assert found.links["eth0.7"].create[5] == b"\x88\xa8"
    assert found.links["outer.5"].create == {1: b"\5\0", 5: b"\x81\0"}


def test_vxlan() -> None:
    entry = {"id": 42, "remote": "192.0.2.9", "local": "192.0.2.7", "ttl": 9}
    found = wanted(
        x={"vxlan": entry},
        y={"vxlan": {"id": 1, "remote": "ff02::1", "interface": "l"}},
        l={"match": {"name": "eth0"}},
    )
    x, y = found.links["x"], found.links["y"]
    assert x.create == {
        1: b"\x2a\0\0\0",
        2: b"\xc0\0\2\x09",
        4: b"\xc0\0\2\x07",
        5: b"\x09",
        15: b"\x12\xb5",
    }
    assert (x.mtu, x.parent, y.mtu, y.parent) == (1450, "", 0, "eth0")
    assert set(y.create) == {1, 5, 15, 16}
    here = state(link(2, "eth0"), link(9, "x", "vxlan", mtu=1450, data=x.create))
    assert shown(plan_links(found, here, {})[0])[:1] == ["MakeLink y vxlan eth0"]
    other = wanted(x={"vxlan": {**entry, "remote": "192.0.2.8"}})
    assert shown(plan_links(other, here, {})[0])[:1] == ["DeleteLink x"]


def test_a_vxlan_that_cannot_be() -> None:
    for entry, why in (
        ({"id": 5}, "x: has no vxlan.remote"),
        ({"remote": "192.0.2.1"}, "x: has no vxlan.id"),
        (
            {"id": 5, "remote": "224.0.0.9"},
            "x: vxlan.remote is a group: vxlan.interface has to say where",
        ),
        (
            {"id": 5, "remote": "192.0.2.1", "local": "::1"},
            "x: vxlan.local is not of the same version as vxlan.remote",
        ),
    ):
        found = wanted(x={"vxlan": entry})
        assert found.problems == (why,)
