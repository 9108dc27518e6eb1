"""From a wish for a network to the network."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from orlop.engine.network import catalogue
from orlop.engine.network.catalogue import NetworkRequest, Surroundings
from orlop.engine.network.model import BRIDGE_NAME, Driver, Network, PoolConfig
from orlop.lib.errors import (
    Conflict,
    Forbidden,
    InvalidArgument,
    NotFound,
    NotImplementedYet,
    OrlopError,
)

NOTHING = Surroundings(networks=[], used=[], ula="fd00:1:2::/48")
ID = "0123456789abcdef" * 4


def plan(request: NetworkRequest, *others: Network, used: tuple[str, ...] = ()) -> Network:
    around = replace(NOTHING, networks=others, used=[ip_network(text) for text in used])
    return catalogue.plan_network(request, around, ID, 1)


def test_defaults() -> None:
    default = catalogue.default_bridge("d" * 64, "orlop0", "", 0, NOTHING, 1)
    network = plan(NetworkRequest(name="web"), default, used=("172.18.5.0/24",))

    assert default.pools == (PoolConfig(subnet="172.17.0.0/16", gateway="172.17.0.1"),)
    assert default.is_default_bridge
    assert default.is_predefined
    assert not default.has_names
    assert network.pools == (PoolConfig(subnet="172.19.0.0/16", gateway="172.19.0.1"),)
    assert network.interface == "br-0123456789ab"
    assert network.has_names


def test_ipv6() -> None:
    network = plan(NetworkRequest(name="web", ipv6=True))
    only = plan(NetworkRequest(name="web", ipv4=False, ipv6=True))

    assert [pool.subnet for pool in network.pools] == ["172.17.0.0/16", "fd00:1:2::/64"]
    assert [pool.gateway for pool in only.pools] == ["fd00:1:2::1"]
    with pytest.raises(InvalidArgument):
        plan(NetworkRequest(name="web", pools=(PoolConfig(subnet="fd00::/64"),)))


def test_named_subnets() -> None:
    pools = (PoolConfig(subnet="10.1.0.0/16", ip_range="10.1.5.0/24"),)
    network = plan(NetworkRequest(name="web", pools=pools))

    assert network.pools[0].subnet == "10.1.0.0/16"
    assert network.pools[0].gateway == "10.1.5.0"
    assert not network.pools[0].gateway_given
    with pytest.raises(Forbidden, match="Pool overlaps"):
        plan(NetworkRequest(name="two", pools=(PoolConfig(subnet="10.1.128.0/17"),)), network)
    for pool, words in (
        (PoolConfig(subnet="10.2.3.4/16"), "invalid subnet 10.2.3.4/16: it should be 10.2.0.0/16"),
        (PoolConfig(subnet="10.2.0.0/16", ip_range="10.2.3.4/24"), "invalid ip-range 10.2.3.4/24"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            plan(NetworkRequest(name="two", pools=(pool,)), network)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (NetworkRequest(name=""), InvalidArgument),
        (NetworkRequest(name="a\nb"), InvalidArgument),
        (NetworkRequest(name="x" * 300), InvalidArgument),
        (NetworkRequest(name="bridge"), Forbidden),
        (NetworkRequest(name="one"), Conflict),
        (NetworkRequest(name="web", driver="overlay"), NotFound),
        (NetworkRequest(name="web", driver="host"), Forbidden),
        (NetworkRequest(name="web", ipv4=False), InvalidArgument),
        (NetworkRequest(name="web", ipam_driver="dhcp"), NotFound),
        (
            NetworkRequest(name="web", options=(("com.docker.network.driver.mtu", "9"),)),
            InvalidArgument,
        ),
        (
            NetworkRequest(name="web", options=(("com.docker.network.bridge.name", "a/b"),)),
            InvalidArgument,
        ),
        (
            NetworkRequest(name="web", options=(("com.docker.network.bridge.name", "br-one"),)),
            Forbidden,
        ),
        (
            NetworkRequest(
                name="web", options=(("com.docker.network.bridge.gateway_mode_ipv4", "routed"),)
            ),
            NotImplementedYet,
        ),
        (
            NetworkRequest(name="web", driver="macvlan", options=(("macvlan_mode", "x"),)),
            InvalidArgument,
        ),
        (
            NetworkRequest(name="web", driver="ipvlan", options=(("parent", "eth0.9999"),)),
            InvalidArgument,
        ),
        (
            NetworkRequest(name="web", pools=(PoolConfig(subnet="10.0.0.0/8"),) * 2),
            Forbidden,
        ),
        (
            NetworkRequest(
                name="web", pools=(PoolConfig(subnet="10.0.0.0/24", gateway="10.0.1.1"),)
            ),
            InvalidArgument,
        ),
    ],
)
def test_refused(request_: NetworkRequest, error: type[OrlopError]) -> None:
    one = Network(id="1", name="one", driver=Driver.BRIDGE, created_ns=0, interface="br-one")
    with pytest.raises(error):
        plan(request_, one)


def test_vlan_parents() -> None:
    assert catalogue.parse_vlan("eth0.50") == ("eth0", 50)
    assert catalogue.parse_vlan("bond0.1.7") == ("bond0.1", 7)
    for name in ("eth0", "eth.x", ".5", ""):
        assert catalogue.parse_vlan(name) is None
    network = plan(NetworkRequest(name="v", driver="ipvlan", options=(("parent", "eth0.50"),)))
    assert (network.interface, network.internal) == ("eth0.50", False)
    with pytest.raises(Forbidden, match="already using parent interface"):
        plan(NetworkRequest(name="w", driver="ipvlan", options=(("parent", "eth0.50"),)), network)
    assert plan(NetworkRequest(name="v", driver="macvlan")).internal


@pytest.mark.parametrize("name", ['a"b', "br%d", "br*", "a/b", "a b", "a\n", "sixteen-and-more"])
def test_interface_names_that_mean_something_else(name: str) -> None:
    with pytest.raises(InvalidArgument, match="interface name"):
        plan(NetworkRequest(name="web", options=((BRIDGE_NAME, name),)))
