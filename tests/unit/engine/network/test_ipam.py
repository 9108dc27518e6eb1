"""Subnets and addresses."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from orlop.engine.network import ipam
from orlop.engine.network.model import PoolConfig
from orlop.lib.errors import Conflict, Forbidden, InvalidArgument


def test_subnets_are_chosen_in_dockerds_order_around_what_is_there() -> None:
    candidates = list(ipam.candidates4())

    assert [str(c) for c in candidates[:4]] == [
        "172.17.0.0/16",
        "172.18.0.0/16",
        "172.19.0.0/16",
        "172.20.0.0/16",
    ]
    assert str(candidates[-1]) == "192.168.240.0/20"
    assert len(candidates) == 15 + 16
    taken = [ip_network("172.17.42.0/24"), ip_network("172.16.0.0/14"), ip_network("fd00::/8")]
    assert str(ipam.choose_subnet(candidates, taken)) == "172.20.0.0/16"
    with pytest.raises(InvalidArgument, match="fully subnetted"):
        ipam.choose_subnet(candidates, [ip_network("0.0.0.0/0")])


def test_ipv6_subnets_are_of_the_engines_own_prefix() -> None:
    first, second = list(ipam.candidates6("fd12:3456:789a::/48"))[:2]

    assert str(first) == "fd12:3456:789a::/64"
    assert str(second) == "fd12:3456:789a:1::/64"


def test_an_address_is_given_out_again_as_late_as_possible() -> None:
    pool = ipam.Pool(PoolConfig(subnet="10.0.0.0/29", gateway="10.0.0.1"))
    first = pool.take_any()
    pool.give_back(first)

    assert first == "10.0.0.2"
    assert [pool.take_any() for _ in range(5)] == [f"10.0.0.{n}" for n in (3, 4, 5, 6, 2)]
    with pytest.raises(Conflict):
        pool.take_any()


def test_named_addresses() -> None:
    pool = ipam.Pool(
        PoolConfig(subnet="10.0.0.0/24", gateway="10.0.0.1", auxiliary=(("r", "10.0.0.2"),))
    )
    assert pool.take("10.0.0.9") == "10.0.0.9"
    for text in ("10.0.0.9", "10.0.0.2", "10.0.0.1"):
        with pytest.raises(Forbidden, match="Address already in use"):
            pool.take(text)
    with pytest.raises(InvalidArgument):
        pool.take("10.0.1.1")
    assert pool.take_any() == "10.0.0.10", "fresh ones first, after a restart of the engine"


def test_range_within_a_subnet() -> None:
    pool = ipam.Pool(PoolConfig(subnet="10.0.0.0/16", ip_range="10.0.5.0/30"))

    assert [pool.take_any() for _ in range(4)] == [f"10.0.5.{n}" for n in range(4)]
    with pytest.raises(InvalidArgument):
        ipam.Pool(PoolConfig(subnet="10.0.0.0/16", ip_range="10.1.0.0/24"))
    with pytest.raises(InvalidArgument):
        ipam.Pool(PoolConfig(subnet="10.0.0.0/16", ip_range="10.0.0.0/8"))


@pytest.mark.parametrize(
    ("subnet", "first"),
    [("10.0.0.0/31", "10.0.0.0"), ("10.0.0.8/32", "10.0.0.8"), ("fd00::/64", "fd00::1")],
)
def test_small_and_large_subnets(subnet: str, first: str) -> None:
    assert ipam.Pool(PoolConfig(subnet=subnet)).take_any() == first


def test_an_ipv6_subnet_has_no_broadcast_address() -> None:
    pool = ipam.Pool(PoolConfig(subnet="fd00::/126"))

    assert [pool.take_any() for _ in range(3)] == ["fd00::1", "fd00::2", "fd00::3"]


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "10.0.0", "::/129", "x" * 5000])
def test_no_subnet(text: str) -> None:
    with pytest.raises(InvalidArgument):
        ipam.parse_subnet(text)
