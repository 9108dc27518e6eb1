"""Real leases: our configuration and hook with dhcpcd, against dnsmasq in another namespace."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.services.namespaces import (
    NetworkNamespace,
    cable,
    network_namespace,
    running,
    wait_until,
)

pytestmark = [pytest.mark.engine, pytest.mark.root]

PROGRAM = Path(__file__).with_name("network_program.py")
HOOK = Path(__file__).parents[3] / "os/services/network/rootfs/usr/lib/orlop/network-hook"

# What the service's definition grants, and nothing else.
CAPABILITIES = "-all,+net_admin,+net_raw,+net_bind_service"


class Network:
    """A machine in *client* whose only cable goes to a router with a DHCP server in *server*."""

    def __init__(self, root: Path, client: NetworkNamespace, server: NetworkNamespace) -> None:
        self.root, self.client, self.server = root, client, server
        self.own, self.shared = root / "run", root / "shared"
        for directory in (self.own, self.shared / "etc", self.shared / "network"):
            directory.mkdir(parents=True)

    def dhcp_server(self) -> list[str]:
        dnsmasq = shutil.which("dnsmasq", path="/usr/sbin:/usr/bin")
        assert dnsmasq is not None
        return self.server.command(
            *(dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"),
            *("--interface=s0", "--bind-interfaces", f"--pid-file={self.root}/dnsmasq.pid"),
            *(f"--dhcp-leasefile={self.root}/leases", "--enable-ra", "--log-facility=-"),
            "--dhcp-range=10.77.0.50,10.77.0.99,1h",
            "--dhcp-range=fd77::100,fd77::1ff,slaac,64,1h",
            *("--dhcp-option=option:router,10.77.0.1", "--dhcp-option=option:dns-server,10.77.0.1"),
            "--dhcp-option=option:domain-search,example.org",
            "--dhcp-option=option:ntp-server,10.77.0.1",
            "--dhcp-option=option6:dns-server,[fd77::1]",
        )

    def dhcpcd(self, settings: dict[str, object]) -> list[str]:
        """The service's own configuration and hook; paths are those of the test."""
        configuration = self.root / "settings.json"
        configuration.write_text(json.dumps(settings))
        directories = (configuration, self.own, self.shared / "network")
        program = " ".join(map(str, (sys.executable, PROGRAM, *directories)))
        hook = self.root / "hook"
        text = HOOK.read_text()
        text = text.replace(":-/run/dhcpcd}", f":-{self.own}}}")
        text = text.replace(":-/usr/bin/python3.13", f":-{program}}}").replace(
            "} -I -S -OO /usr/lib/orlop/python service network}", "}"
        )
        hook.write_text(text.replace(":-/run/orlop}", f":-{self.shared}}}"))
        hook.chmod(0o755)
        self.client.run("sh", "-c", f"{program} apply || test $? = 3")
        path = self.own / "dhcpcd.conf"
        dhcpcd = shutil.which("dhcpcd", path="/usr/sbin:/usr/bin")
        assert dhcpcd is not None
        return self.client.command(
            *("unshare", "--mount", "--propagation", "unchanged", "sh", "-c"),
            # Without its user Debian's build gives up separating privileges; ours never does.
            "mount --bind /dev/null /etc/passwd && mount -t tmpfs none /run"
            ' && mount -t sysfs none /sys && mkdir -p "$1"'
            ' && mount -t tmpfs none "$1" && shift && exec "$@"',
            *("sh", "/var/lib/dhcpcd"),
            *("setpriv", "--no-new-privs", "--bounding-set", CAPABILITIES),
            *(dhcpcd, "--nodev", "--nobackground", "--config", str(path)),
        )

    def addresses(self) -> str:
        return self.client.run("ip", "-o", "addr", "show", "dev", "eth0", "scope", "global")

    def routes(self) -> str:
        return self.client.run("ip", "route") + self.client.run("ip", "-6", "route")

    @property
    def resolv_conf(self) -> list[str]:
        path = self.shared / "etc/resolv.conf"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    with network_namespace() as client, network_namespace() as server:
        cable(client, "eth0", server, "s0")
        server.run("ip", "link", "set", "s0", "up")
        server.run("ip", "addr", "add", "10.77.0.1/24", "dev", "s0")
        server.run("ip", "addr", "add", "fd77::1/64", "dev", "s0", "nodad")
        client.run("sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_ra")
        yield Network(tmp_path, client, server)


def test_lease_by_dhcp_and_router_advertisement(network: Network, tmp_path: Path) -> None:
    with (
        running(network.dhcp_server(), tmp_path / "dnsmasq.log"),
        running(network.dhcpcd({}), tmp_path / "dhcpcd.log"),
    ):
        wait_until(lambda: "10.77.0." in network.addresses(), "DHCPv4 lease")
        wait_until(lambda: "fd77::" in network.addresses(), "IPv6 address")
        wait_until(lambda: "default via fe80::" in network.routes(), "IPv6 router")
        assert "default via 10.77.0.1" in network.routes()
        wait_until(lambda: len(network.resolv_conf) >= 3, "resolv.conf")
        assert set(network.resolv_conf) >= {
            "nameserver 10.77.0.1",
            "nameserver fd77::1",
            "search example.org",
        }
        assert (network.shared / "network/ntp-servers").read_text() == "10.77.0.1\n"


def test_static_addresses_come_and_servers_are_ours(network: Network, tmp_path: Path) -> None:
    settings: dict[str, object] = {
        "interfaces": {
            "eth0": {
                "addresses": ["10.77.0.5/24", "fd77::5/64"],
                "gateway": "10.77.0.1",
                "gateway6": "fd77::1",
                "mtu": 1400,
            }
        },
        "nameservers": ["192.0.2.53"],
        "search": ["corp.example"],
    }
    network.client.run("ip", "addr", "add", "10.99.0.1/24", "dev", "eth0")  # somebody's
    network.client.run(
        *(
            "ip",
            "addr",
            "add",
            "10.77.0.77/24",
            "dev",
            "eth0",
            "valid_lft",
            "900",
            "preferred_lft",
            "900",
        )
    )  # a lease of a former life
    with (
        running(network.dhcp_server(), tmp_path / "dnsmasq.log"),
        running(network.dhcpcd(settings), tmp_path / "dhcpcd.log"),
    ):
        wait_until(lambda: "default via fd77::1" in network.routes(), "routes")
        assert "10.77.0.5/24" in network.addresses()
        assert "fd77::5/64" in network.addresses()
        assert "10.99.0.1" in network.addresses()
        assert "10.77.0.77" not in network.addresses()
        assert "default via 10.77.0.1" in network.routes()
        assert "mtu 1400" in network.client.run("ip", "link", "show", "eth0")
        wanted = {"search corp.example", "nameserver 192.0.2.53"}
        wait_until(lambda: set(network.resolv_conf) == wanted, "resolv.conf")
        network.client.run("ping", "-c", "1", "-W", "5", "10.77.0.1")


@pytest.mark.parametrize("asked", ["dhcp", "ra", "dhcp6"])
def test_each_way_by_itself(network: Network, tmp_path: Path, asked: str) -> None:
    """What is not asked for does not come, also when all that is has come."""
    ways = {way: way == asked for way in ("dhcp", "ra", "dhcp6")}
    settings: dict[str, object] = {"interfaces": {"eth0": ways}}
    with (
        running(network.dhcp_server(), tmp_path / "dnsmasq.log"),
        running(network.dhcpcd(settings), tmp_path / "dhcpcd.log"),
    ):
        shown = {"dhcp": "10.77.0.", "ra": "fd77::", "dhcp6": "fd77::1"}[asked]
        wait_until(lambda: shown in network.addresses(), asked)
        wait_until((network.shared / "network/online").exists, "the machine being online")
        assert ("10.77.0." in network.addresses()) == (asked == "dhcp")
        assert ("fd77::" in network.addresses()) == (asked != "dhcp")
        assert ("default via fe80::" in network.routes()) == (asked == "ra")


def test_addresses_stay_when_the_service_is_restarted(network: Network, tmp_path: Path) -> None:
    with running(network.dhcp_server(), tmp_path / "dnsmasq.log"):
        with running(network.dhcpcd({}), tmp_path / "dhcpcd.log"):
            wait_until(lambda: "10.77.0." in network.addresses(), "DHCPv4 lease")
        before = network.addresses()
        assert "10.77.0." in before
        with running(network.dhcpcd({}), tmp_path / "dhcpcd.log"):
            wait_until(lambda: "nameserver 10.77.0.1" in network.resolv_conf, "second lease")
            assert "10.77.0." in network.addresses()


def test_cable_comes_later(network: Network, tmp_path: Path) -> None:
    network.server.run("ip", "link", "set", "s0", "down")
    with (
        running(network.dhcp_server(), tmp_path / "dnsmasq.log"),
        running(network.dhcpcd({}), tmp_path / "dhcpcd.log"),
    ):
        wait_until(lambda: "waiting for carrier" in (tmp_path / "dhcpcd.log").read_text())
        network.server.run("ip", "link", "set", "s0", "up")
        wait_until(lambda: "10.77.0." in network.addresses(), "lease after the carrier")


def test_an_interface_that_comes_later_is_known_by_its_address(
    network: Network, tmp_path: Path
) -> None:
    settings: dict[str, object] = {
        "interfaces": {
            "eth0": {"addresses": ["10.77.0.5/24"]},
            "spare": {"match": "mac=02:00:00:00:00:99", "addresses": ["10.78.0.5/24"], "ra": False},
        }
    }
    with running(network.dhcpcd(settings), tmp_path / "dhcpcd.log"):
        wait_until((network.own / "ready/eth0").exists, "the first interface")
        add = "ip link add eth7 address 02:00:00:00:00:99 type veth peer name p7"
        network.client.run("sh", "-c", f"{add} && ip link set p7 up")
        show = ("ip", "-o", "addr", "show", "dev", "eth7")
        wait_until(lambda: "10.78.0.5/24" in network.client.run(*show), "its address")
        wait_until((network.own / "ready/eth7").exists, "it being ready")
        assert "interface eth7\nnoipv4\n" in (network.own / "dhcpcd.conf").read_text()


def test_a_bridge_asks_and_its_member_does_not(network: Network, tmp_path: Path) -> None:
    settings: dict[str, object] = {
        "interfaces": {
            "br0": {"bridge": True, "metric": 77},
            "eth0": {"bridge": "br0"},
            "spare": {"match": "mac=02:00:00:00:00:99", "bridge": "br0"},
        }
    }

    def of(name: str) -> str:
        return network.client.run("ip", "-o", "addr", "show", "dev", name, "scope", "global")

    with (
        running(network.dhcp_server(), tmp_path / "dnsmasq.log"),
        running(network.dhcpcd(settings), tmp_path / "dhcpcd.log"),
    ):
        wait_until(lambda: "10.77.0." in of("br0"), "a lease of the bridge")
        wait_until((network.shared / "network/online").exists, "the machine being online")
        assert of("eth0") == ""
        assert "metric 77" in network.routes()
        add = "ip link add eth7 address 02:00:00:00:00:99 type veth peer name p7"
        network.client.run("sh", "-c", f"{add} && ip link set p7 up")
        show = ("ip", "link", "show", "dev", "eth7")
        wait_until(lambda: "master br0" in network.client.run(*show), "the new member")


def test_a_link_local_address_where_nobody_answers(network: Network, tmp_path: Path) -> None:
    network.server.run("ip", "addr", "flush", "dev", "s0")
    settings: dict[str, object] = {"interfaces": {"eth0": {"dhcp": False, "ipv4ll": True}}}
    with running(network.dhcpcd(settings), tmp_path / "dhcpcd.log"):
        show = ("ip", "-o", "-4", "addr", "show", "dev", "eth0")
        wait_until(lambda: " 169.254." in network.client.run(*show), "the address")
        wait_until((network.shared / "network/online").exists, "the machine being online")
