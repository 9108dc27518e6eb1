"""What containers get of networks: order, names, default route, files, ports."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from orlop.engine.container.config import ContainerConfig
from orlop.engine.container.endpoints import EndpointConfig, Networking, PortBinding
from orlop.engine.network import etc_files, joining, ports, sandbox
from orlop.engine.network.model import Driver, Endpoint, Network, PoolConfig, SandboxState
from orlop.engine.network.store import NetworkStore
from orlop.lib.errors import Internal, InvalidArgument


def config(mode: str = "bridge", **networking: object) -> ContainerConfig:
    return ContainerConfig(
        name="web",
        image="i",
        network=mode,
        networking=Networking(**networking),  # type: ignore[arg-type]
    )


def endpoint(network: str, **fields: object) -> Endpoint:
    return Endpoint(id=network, network_id=network, network=network, interface="eth0", **fields)  # type: ignore[arg-type]


def test_networks_in_order() -> None:
    names = ("c", "a", "front", "b")
    wanted = config("front", endpoints=tuple(EndpointConfig(network=name) for name in names))

    assert [item.network for item in joining.wanted_endpoints(wanted)] == ["front", "a", "b", "c"]
    assert [item.network for item in joining.wanted_endpoints(config("default"))] == ["bridge"]
    as_cli = config("bridge", endpoints=(EndpointConfig(network="default", aliases=("x",)),))
    assert joining.wanted_endpoints(as_cli) == [EndpointConfig(network="bridge", aliases=("x",))]
    assert joining.wanted_endpoints(config("front", endpoints=())) == []
    for mode in ("host", "none", "container:x"):
        assert joining.wanted_endpoints(config(mode)) == []


def test_names() -> None:
    wanted = EndpointConfig(network="n", aliases=("www", "web"))
    known = ContainerConfig(name="web", image="i", hostname="box")

    assert joining.endpoint_names(known, "0" * 64, wanted) == ("web", "www", "0" * 12, "box")


def test_default_route() -> None:
    first = endpoint("b", gateway4="10.0.0.1")
    second = endpoint("a", gateway4="10.1.0.1", gateway6="fd00::1")
    internal = endpoint("0")
    three = (first, second, internal)

    def choose(*wanted: EndpointConfig) -> Endpoint | None:
        return joining.gateway_endpoint(three, wanted, 4)

    assert choose() is second, "with both families"
    assert choose(EndpointConfig(network="b", gateway_priority=1)) is first
    assert joining.gateway_endpoint((internal,), (), 4) is None
    state = sandbox.Sandbox("c", SandboxState(endpoints=three, gateway_network="b"))
    assert state.default_routes() == [("10.0.0.1", "eth0"), ("fd00::1", "eth0")]


def test_endpoints() -> None:
    network = Network(
        id="n",
        name="n",
        driver=Driver.BRIDGE,
        created_ns=0,
        ipv6=True,
        pools=(
            PoolConfig(subnet="10.0.0.0/24", gateway="10.0.0.1"),
            PoolConfig(subnet="fd00::/64", gateway="fd00::1"),
        ),
    )
    pools = joining.NetworkPools(network)
    made = joining.make_endpoint(pools, EndpointConfig(network="n"), number=1, names=("x",))

    assert (made.interface, made.ipv4, made.ipv6) == ("eth1", "10.0.0.2", "fd00::2")
    assert (made.gateway4, made.prefix6) == ("10.0.0.1", 64)
    assert made.mac == "02:42:0a:00:00:02"
    assert len(made.host_interface) <= 15
    asked = EndpointConfig(network="n", ipv4="10.0.0.9", mac="02:00:00:00:00:01")
    made = joining.make_endpoint(pools, asked, number=0, names=())
    assert (made.ipv4, made.mac) == ("10.0.0.9", "02:00:00:00:00:01")
    with pytest.raises(InvalidArgument):
        joining.make_endpoint(
            pools, EndpointConfig(network="n", ipv4="10.9.0.1"), number=0, names=()
        )


def test_addresses_that_a_network_does_not_have() -> None:
    network = Network(
        id="n",
        name="n",
        driver=Driver.BRIDGE,
        created_ns=0,
        pools=(PoolConfig(subnet="10.0.0.0/24", gateway="10.0.0.1"),),
    )
    joining.check_wanted(network, EndpointConfig(network="n", ipv4="10.0.0.9"))
    with pytest.raises(InvalidArgument) as caught:
        joining.check_wanted(network, EndpointConfig(network="n", ipv4="10.0.1.9", ipv6="fd00::1"))
    assert str(caught.value) == (
        "invalid config for network n: invalid endpoint settings:\n"
        "* no configured subnet or ip-range contain the IP address 10.0.1.9\n"
        "* no configured subnet or ip-range contain the IP address fd00::1"
    )


def test_ports_that_are_published() -> None:
    bound = PortBinding("tcp", 90, "", "1")
    wanted = config(ports=(bound,), exposed=("90/tcp", "80/udp"), publish_all=True)

    assert joining.wanted_ports(wanted) == [PortBinding("udp", 80), bound]
    assert joining.wanted_ports(config(exposed=("80/tcp",))) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [("", None), ("0", None), ("80", (80, 80)), ("8000-8010", (8000, 8010))],
)
def test_host_ports(text: str, found: tuple[int, int] | None) -> None:
    assert ports.parse_host_port(text) == found


@pytest.mark.parametrize("text", ["x", "-1", "80-", "90-80", "65536", "1-99999", "8 0"])
def test_no_host_ports(text: str) -> None:
    with pytest.raises(InvalidArgument):
        ports.parse_host_port(text)


def test_a_port_is_held_until_it_is_released() -> None:
    held, others = ports.HostPorts(), ports.HostPorts()
    binding = PortBinding("tcp", 80, "127.0.0.1", "")
    first = held.bind(binding)
    number = first[0].port.host_port
    again = PortBinding("tcp", 80, "127.0.0.1", str(number))

    with pytest.raises(Internal, match=f"Bind for 127.0.0.1:{number} failed: port is already"):
        held.bind(again)
    with pytest.raises(Internal, match="address already in use"):
        others.bind(again)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            sock.bind(("127.0.0.1", number))
    held.release(first)
    second = others.bind(again)
    assert [item.port for item in second] == [item.port for item in first]
    others.release(second)


def test_everywhere_is_both_families_with_one_number() -> None:
    held = ports.HostPorts()
    found = held.bind(PortBinding("udp", 53))
    try:
        assert len({item.port.host_port for item in found}) == 1
        assert found[0].port.host_ip == "0.0.0.0"
        with pytest.raises(Internal):
            held.bind(PortBinding("udp", 53, "127.0.0.1", str(found[0].port.host_port)))
    finally:
        held.release(found)
    assert held.addresses("", "192.0.2.1") == ["192.0.2.1"]


def test_resolv_conf() -> None:
    host = etc_files.parse_resolv_conf(
        "# comment\nnameserver 127.0.0.53 # stub\nnameserver 192.0.2.53\nnameserver nonsense\n"
        "domain old\nsearch a.example b.example\noptions ndots:2 edns0\nsortlist x\n"
    )
    assert host == etc_files.ResolverConfig(
        ("127.0.0.53", "192.0.2.53"), ("a.example", "b.example"), ("ndots:2", "edns0")
    )
    nothing = Networking()
    assert etc_files.plan_resolv_conf(host, nothing, embedded=False) == (
        "nameserver 192.0.2.53\nsearch a.example b.example\noptions ndots:2 edns0\n"
    )
    assert etc_files.plan_resolv_conf(host, nothing, embedded=False, same_host=True).startswith(
        "nameserver 127.0.0.53\n"
    )
    own = Networking(dns=("192.0.2.9",), dns_search=(".",), dns_options=("rotate",))
    assert etc_files.plan_resolv_conf(host, own, embedded=False) == (
        "nameserver 192.0.2.9\noptions rotate\n"
    )
    assert etc_files.plan_resolv_conf(host, own, embedded=True) == (
        "nameserver 127.0.0.11\noptions rotate ndots:0\n"
    )


def test_hosts() -> None:
    text = etc_files.plan_hosts(
        (("db", "192.0.2.7"), ("here", "host-gateway")),
        [endpoint("n", ipv4="10.0.0.2", ipv6="fd00::2")],
        ["box.example", "box"],
        (("10.0.0.3", "other"),),
        ("172.17.0.1",),
    )
    assert text.startswith("127.0.0.1\tlocalhost\n::1\tlocalhost")
    assert text.endswith(
        "192.0.2.7\tdb\n172.17.0.1\there\n10.0.0.3\tother\n"
        "10.0.0.2\tbox.example box\nfd00::2\tbox.example box\n"
    )


def test_files_come_back_as_they_were(tmp_path: Path) -> None:
    store = NetworkStore(tmp_path / "networks")
    assert store.load() == []
    network = Network(
        id="a" * 64,
        name="n",
        driver=Driver.BRIDGE,
        created_ns=5,
        pools=(PoolConfig(subnet="10.0.0.0/8", auxiliary=(("x", "10.0.0.1"),)),),
        options=(("k", "v"),),
    )
    store.save(network)
    (tmp_path / "networks" / ("b" * 64 + ".json")).write_text("{")
    ula = store.ula()

    assert NetworkStore(tmp_path / "networks").load() == [network]
    assert NetworkStore(tmp_path / "networks").ula() == ula
    assert ula.startswith("fd")
    assert (tmp_path / "networks" / ("b" * 64 + ".broken")).exists()
    store.delete(network.id)
    assert store.load() == []
    state = SandboxState(endpoints=(endpoint("n", names=("a", "b")),), gateway_network="n")
    sandbox.write_state(tmp_path, state)
    assert sandbox.read_state(tmp_path) == state
    (tmp_path / "network.json").write_text("[]")
    assert sandbox.read_state(tmp_path) is None
